"""Reads /operator/metrics with Prometheus's own parser, and prints its samples as JSON."""

import json
import os
import re
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

request = urllib.request.Request(
    f"{os.environ['GATEWAY_URL']}/operator/metrics",
    headers={"Authorization": f"Bearer {os.environ['OPERATOR_TOKEN']}"},
)
with urllib.request.urlopen(request) as response:
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = response.read().decode()

assert text.endswith("\n"), "the last line must end"
# The parser is kind: each family has its help and its type before its samples, once.
order = re.findall(r"^# (HELP|TYPE) (\S+)", text, re.M)
names = [name for _, name in order[::2]]
assert order == [(kind, name) for name in names for kind in ("HELP", "TYPE")], order
assert len(names) == len(set(names)), names

samples, seen = [], set()
for family in text_string_to_metric_families(text):
    assert family.type in ("counter", "gauge", "histogram"), family
    assert len(family.documentation) > 10, family
    buckets = []
    for name, labels, value, *_ in family.samples:
        key = (name, tuple(sorted(labels.items())))
        assert key not in seen, key
        seen.add(key)
        assert value >= 0, (key, value)
        if name.endswith("_bucket"):
            buckets.append((float(labels["le"]), value))
        samples.append([name, labels, value])
    if family.type == "histogram":
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), buckets
        assert all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), buckets
        count = [value for name, _, value, *_ in family.samples if name.endswith("_count")]
        assert count == [buckets[-1][1]], family
print(json.dumps(samples))
