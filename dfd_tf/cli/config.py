"""`dfd-tf config`: what configurations exist, and what may stand in one."""

import json

import click


@click.group()
def command() -> None:
    """List, show and describe configurations."""


@command.command("list")
def list_command() -> None:
    """Print the names of the shipped configurations, one a line."""
    from dfd_tf.config.loading import shipped_configs

    for name in shipped_configs():
        click.echo(name)


@command.command("show")
@click.argument("config")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value.")
def show_command(config: str, overrides: tuple[str, ...]) -> None:
    """Print a configuration with every default filled in."""
    from dfd_tf.config.loading import dump_experiment, load_experiment

    click.echo(dump_experiment(load_experiment(config, overrides)), nl=False)


@command.command("schema")
def schema_command() -> None:
    """Print the JSON schema of the configuration files, for editors."""
    from dfd_tf.config.loading import experiment_json_schema

    click.echo(json.dumps(experiment_json_schema(), indent=2))
