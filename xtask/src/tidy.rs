//! Conventions of this repository that the compiler doesn't know, as tests.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::workspace;
use crate::wrangler::Wrangler;

/// What sources' names end with.
const SOURCES: [&str; 5] = ["rs", "mjs", "js", "jsx", "css"];

/// Beyond this, a file does more than one thing.
const MOST_LINES: usize = 500;

/// The source files below these folders of the workspace.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in WalkDir::new(workspace::root().join(folder)).into_iter().filter_entry(is_ours)
        {
            let path = entry.unwrap().into_path();
            if path.extension().is_some_and(|it| SOURCES.iter().any(|known| it == *known)) {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(workspace::root()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no source files in {folders:?}");
    found
}

fn is_ours(entry: &walkdir::DirEntry) -> bool {
    entry.file_name() != "node_modules" && entry.file_name() != "target"
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace::root().join(path)).unwrap()
}

#[test]
fn the_rules_depend_on_nothing_of_workers() {
    let output = workspace::command("cargo")
        .args([
            "tree",
            "--package",
            "domain",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--locked",
        ])
        .args(["--target", "wasm32-unknown-unknown", "--offline"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.starts_with("domain "), "{tree}");
    let platform = ["worker", "worker-macros", "worker-sys", "wasm-bindgen", "js-sys", "web-sys"];
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(!platform.contains(&name), "domain depends on {line}");
    }
}

#[test]
fn only_the_context_reads_the_environment() {
    // The ways to ask an `Env` for something.
    let readers = [
        ".durable_object(",
        ".d1(",
        ".var(",
        ".secret(",
        ".kv(",
        ".bucket(",
        ".queue(",
        ".assets(",
    ];
    for (path, text) in sources(&["src"]) {
        if path == Path::new("src/context.rs") || path.extension().is_some_and(|end| end != "rs") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let reads = readers.iter().any(|reader| line.contains(reader));
            assert!(!reads, "{}:{}: only src/context.rs reads Env", path.display(), index + 1);
        }
    }
}

#[test]
fn each_object_has_its_folder_its_class_and_its_storage() {
    let wrangler = Wrangler::read(workspace::root()).unwrap();
    let (entry, declaration) = (read("src/entry.mjs"), read("wrangler.toml"));
    for object in wrangler.durable_objects.bindings {
        let class = object.class_name;
        let folder = snake_case(&class);
        assert!(
            workspace::root().join("src/objects").join(&folder).is_dir(),
            "src/objects/{folder}/ for {class}"
        );
        // Under its own name, and made of the class of that name.
        let is_exported = ["ofGateway", "ofOffice"].iter().any(|made| {
            let line = format!("export const {class} = {made}(\"{class}\");");
            entry.lines().any(|it| it == line)
        });
        assert!(is_exported, "{class} in src/entry.mjs");
        let stored = declaration.lines().any(|line| {
            line.starts_with("new_sqlite_classes") && line.contains(&format!("\"{class}\""))
        });
        assert!(stored, "{class} in a new_sqlite_classes of wrangler.toml");
    }
}

#[test]
fn no_source_file_is_too_long() {
    let folders = ["src", "crates", "xtask/src", "tests", "bench", "fuzz", "console"];
    for (path, text) in sources(&folders) {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines: split it", path.display());
    }
}

#[test]
fn wasm_bindgen_s_tool_and_library_are_of_one_version() {
    let manifest = read("Cargo.toml");
    let line = format!("wasm-bindgen = \"={}\"", crate::setup::WASM_BINDGEN.version);
    assert!(manifest.contains(&line), "Cargo.toml should say {line}");
}

fn snake_case(class: &str) -> String {
    let mut name = String::new();
    for letter in class.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}
