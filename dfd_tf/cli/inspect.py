"""`dfd-tf inspect`: what a record folder holds."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.records.manifest import Manifest


@click.command()
@click.argument("records", type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read every record: checksums, labels, pictures.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Contact sheet; RECORDS/contact_sheet.png."
)
def command(records: Path, deep: bool, output_format: str, sheet: Path | None) -> None:
    """Show counts, vocabularies, split proof and failures of RECORDS, and draw a contact sheet.

    Exits with 4 when the folder is damaged.
    """
    from rich.console import Console
    from rich.text import Text

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import stderr
    from pipelines.contact_sheet import write_contact_sheet
    from pipelines.errors import InputError
    from pipelines.records.verification import verify_records

    manifest = verify_records(records, deep=deep)
    path = sheet or records / "contact_sheet.png"
    try:
        write_contact_sheet(records, manifest, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose --sheet") from None
    if output_format == "json":
        summary = {
            "name": manifest.name,
            "fingerprint": manifest.fingerprint(),
            "verified": "deep" if deep else "shallow",
            "domains": list(manifest.domains),
            "counts": {split: _counts(manifest, split) for split in _splits(manifest)},
            "failures": dict(manifest.failures),
            "split_proof": manifest.split_proof,
        }
        click.echo(json.dumps(summary, indent=2))
    else:
        print_manifest(manifest, Console())
    stderr.print(Text(f"contact sheet: {path}"), soft_wrap=True)


def print_manifest(manifest: "Manifest", console: "Console") -> None:
    """Prints counts per split, label and domain, the failures by cause and the split proof."""
    from rich.table import Table
    from rich.text import Text

    from pipelines.errors import printable

    num_faces = sum(shard.records for shard in manifest.shards)
    table = Table(title=Text(f"{printable(manifest.name)}: {num_faces} faces"))
    for heading in ("split", "domain", "real", "fake", "unknown"):
        table.add_column(heading, justify="left" if heading in {"split", "domain"} else "right")
    for split in _splits(manifest):
        counts = _counts(manifest, split)
        for domain in manifest.domains:
            cells = [str(counts.get(f"{label}|{domain}", 0)) for label in (0, 1, -1)]
            if any(cell != "0" for cell in cells):
                table.add_row(split, Text(printable(domain)), *cells)
    console.print(table)
    if manifest.failures:
        failures = Table(title="not used, by cause")
        failures.add_column("cause")
        failures.add_column("items", justify="right")
        for cause, count in sorted(manifest.failures.items()):
            failures.add_row(cause, str(count))
        console.print(failures)
    leak_free = manifest.split_proof.get("leak_free", False)
    verdict = "[green]no content is shared[/]" if leak_free else "[red]content is shared[/]"
    console.print(f"splits: {verdict}")


def _splits(manifest: "Manifest") -> list[str]:
    return [s for s in ("train", "val", "test") if any(x.split == s for x in manifest.shards)]


def _counts(manifest: "Manifest", split: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard in manifest.shards:
        if shard.split == split:
            for key, number in shard.counts.items():
                counts[key] = counts.get(key, 0) + number
    return counts
