"""`dfd-tf serve`: the web page and the JSON interface of runs."""

import os

import click

_MEBIBYTE = 2**20


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN...]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Name the server may be asked for by, besides --host and the local ones. Repeatable.",
)
@click.option("--operating-point", default="balanced", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of TensorFlow.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that decode images.")
@click.option(
    "--max-pending",
    type=click.IntRange(min=1, max=256),
    default=32,
    show_default=True,
    help="Predictions under way; one more is refused with 503.",
)
@click.option(
    "--max-jobs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Videos that may wait; one more is refused with 503.",
)
@click.option(
    "--max-image-mib", type=click.IntRange(min=1, max=1024), default=32, show_default=True
)
@click.option("--max-video-mib", type=click.IntRange(min=1), default=512, show_default=True)
@click.option(
    "--max-video-seconds", type=click.FloatRange(min=1.0), default=600.0, show_default=True
)
@click.option("--max-frames", type=click.IntRange(1, 3000), default=3000, show_default=True)
@click.option("--lazy", is_flag=True, help="Listen first, load the models then.")
def command(
    runs: tuple[str, ...],
    host: str,
    port: int,
    allow_hosts: tuple[str, ...],
    operating_point: str,
    threads: int | None,
    workers: int | None,
    max_pending: int,
    max_jobs: int,
    max_image_mib: int,
    max_video_mib: int,
    max_video_seconds: float,
    max_frames: int,
    lazy: bool,
) -> None:
    """Serve the web page and the JSON interface of each RUN, without storing anything.

    SIGTERM or Ctrl-C answers what is under way and ends with exit code 0; during the start it
    ends with 143 or 130.
    """
    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    if threads is not None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    from dfd_tf.serving.server import run_server
    from dfd_tf.serving.settings import ServeSettings
    from pipelines.settings import MediaLimits

    settings = ServeSettings(
        host=host,
        port=port,
        allow_hosts=allow_hosts,
        operating_point=operating_point,
        workers=workers or len(os.sched_getaffinity(0)),
        max_pending=max_pending,
        max_jobs=max_jobs,
        limits=MediaLimits(
            max_image_bytes=max_image_mib * _MEBIBYTE,
            max_video_bytes=max_video_mib * _MEBIBYTE,
            max_video_seconds=max_video_seconds,
        ),
        max_frames=max_frames,
        lazy=lazy,
    )
    run_server(runs, settings, lambda url: click.echo(f"serving {url}", err=True))
