"""How fast an uploaded table is checked row by row and stored, and in how much memory.

    python -m benchmarks.dataset_import                   a CSV file of 1,000 MB
    python -m benchmarks.dataset_import --megabytes 100
    python -m benchmarks.dataset_import --file data.csv   a file of your own, with a header line

It writes a CSV file of help-desk-like rows to a temporary folder and imports it as the portal does (detect, decode,
check every row, write Parquet) in a process of its own, whose peak memory it prints. For comparison, the same file is
read by pyarrow's streaming CSV reader and written with the same compression, in another process of the same run: that
reader is C++, stops at the first bad row and names no line, so it is a ceiling and not an alternative. The goal is less
than 300 MB whatever the size of the file. Nothing is written outside the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_MB = 300
WORDS = (  # noqa: SIM905 - a text of words reads better than their list
    "printer laptop password badge meeting room invoice travel expense network slow cannot open the my on since "
    "monday please help account locked screen blue keyboard vpn office update install licence request for new "
    "colleague, urgent"
).split()


def main() -> None:
    """Make the file, import it both ways, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--file", type=Path, help="import this CSV file instead of a made one")
    parser.add_argument("--only", choices=["gatehouse", "pyarrow"], help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.file, options.into)))
        return
    with tempfile.TemporaryDirectory(prefix="gatehouse-import-") as folder:
        path = options.file or make(Path(folder) / "rows.csv", options.megabytes)
        size = path.stat().st_size / 1e6
        # Once unmeasured, so that both find the file in the page cache.
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        found = {}
        for name in ("pyarrow", "gatehouse"):
            command = [sys.executable, "-m", "benchmarks.dataset_import", "--only", name]
            command += ["--file", str(path), "--into", str(Path(folder) / f"{name}.parquet")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(done.stdout)
        ours, theirs = found["gatehouse"], found["pyarrow"]
        print(f"{size:,.0f} MB, {ours['rows']:,} rows, {ours['problems']:,} problems found")
        print(f"{'':12}{'MB/s':>8}{'seconds':>10}{'peak MB':>10}")
        for name, result in found.items():
            print(f"{name:12}{size / result['seconds']:8.1f}{result['seconds']:10.1f}{result['peak_mb']:10.0f}")
        ratio = theirs["seconds"] / ours["seconds"]
        verdict = "met" if ours["peak_mb"] < GOAL_MB else "MISSED"
        print(f"ratio to pyarrow {ratio:.2f}; memory goal of {GOAL_MB} MB {verdict}")
        if ours["rows"] + ours["rejected"] != theirs["rows"]:
            raise SystemExit("The two imports disagree about the number of rows.")


def make(path: Path, megabytes: int) -> Path:
    """Write a CSV file of about that size, the same every time."""
    draw = random.Random(1)
    lines = []
    for number in range(20_000):
        text = " ".join(draw.choices(WORDS, k=draw.randint(6, 40)))
        lines.append(f'{number},"{text}",{draw.choice(["hardware", "access", "travel"])},{draw.randint(1, 5)}\n')
    block = "".join(lines).encode()
    with open(path, "wb") as file:
        file.write(b"id,text,label,urgency\n")
        for _ in range(max(1, megabytes * 1_000_000 // len(block))):
            file.write(block)
    return path


def measure(name: str, source: Path, target: Path) -> dict[str, float]:
    """Import once in this process; seconds of work and peak resident memory in MB."""
    result = {"gatehouse": import_here, "pyarrow": import_with_pyarrow}[name](source, target)
    # Linux counts in kilobytes.
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return result


def import_here(source: Path, target: Path) -> dict[str, float]:
    """The import pipeline of the portal."""
    from projects import sources, tables

    started = time.perf_counter()
    columns = sources.columns(source, source.name).columns
    problems = rejected = 0
    writer = tables.Writer(target, columns)
    with writer:
        for batch in sources.read(source, source.name):
            writer.extend(row.values for row in batch.rows)
            problems += len(batch.errors) + batch.left_off
            rejected += batch.rejected
    return {
        "seconds": time.perf_counter() - started,
        "rows": writer.rows,
        "problems": problems,
        "rejected": rejected,
    }


def import_with_pyarrow(source: Path, target: Path) -> dict[str, float]:
    """pyarrow's streaming reader into the same kind of file, on one thread like ours."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    started = time.perf_counter()
    pa.set_cpu_count(1)
    with open(source, encoding="utf-8-sig", newline="") as file:
        import csv

        names = next(csv.reader(file))
    convert = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names})
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    read = pyarrow.csv.ReadOptions(use_threads=False)
    rows = 0
    with (
        pyarrow.csv.open_csv(source, read_options=read, parse_options=parse, convert_options=convert) as reader,
        pq.ParquetWriter(target, reader.schema, compression="zstd", compression_level=3) as writer,
    ):
        for batch in reader:
            rows += batch.num_rows
            writer.write_batch(batch)
    return {"seconds": time.perf_counter() - started, "rows": rows}


if __name__ == "__main__":
    main()
