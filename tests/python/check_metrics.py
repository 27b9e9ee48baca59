#!/usr/bin/env python3
"""Reads a /metrics page from standard input with the reference parser, strictly, and writes it as JSON.

    check_metrics.py openmetrics|text < page

Output: {family: {"type": …, "unit": …, "samples": [[name, {labels}, value, exemplar or null], …]}}. Fails when the
page is not well-formed, when a family or a series comes twice, or when a histogram is no histogram.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text


def main():
    read = {"openmetrics": read_openmetrics, "text": read_text}[sys.argv[1]]
    families = {}
    series = set()
    for family in read(sys.stdin.read()):
        assert family.name not in families, f"family {family.name} comes twice"
        samples = []
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in series, f"series {key} comes twice"
            series.add(key)
            exemplar = sample.exemplar and {
                "labels": sample.exemplar.labels,
                "value": sample.exemplar.value,
                "timestamp": float(sample.exemplar.timestamp or 0),
            }
            samples.append([sample.name, sample.labels, sample.value, exemplar])
        families[family.name] = {"type": family.type, "unit": family.unit, "samples": samples}
    json.dump(families, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
