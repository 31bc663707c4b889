"""Parses PowerShell scripts: the paths in the arguments. Ends with 1 where one isn't whole."""

import sys

import tree_sitter
import tree_sitter_powershell


def problems(node):
    if node.is_error or node.is_missing:
        yield node
        return
    for child in node.children:
        if child.has_error or child.is_missing:
            yield from problems(child)


parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
is_whole = True
for path in sys.argv[1:]:
    with open(path, "rb") as script:
        text = script.read()
    for node in problems(parser.parse(text).root_node):
        is_whole = False
        row, column = node.start_point
        what = text[node.start_byte : node.end_byte].decode().splitlines() or [node.type]
        print(f"{path}:{row + 1}:{column + 1}: can't be parsed: {what[0]}")
sys.exit(0 if is_whole else 1)
