"""The command line: `hinas-nb COMMAND`, or `python -m hinas_nb COMMAND`.

Wrong input is one line on stderr and exit code 2; a notebook or Run that fails is exit code 1; Ctrl-C is 130.
Commands import what they need themselves: torch takes seconds, help and errors should not.
"""

import argparse
import os
import signal
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import shtab

from hinas_nb import __version__, collection, locations
from hinas_nb.batch import contract
from hinas_nb.files import one_line, printable

INTERRUPTED = 130  # what shells report for Ctrl-C
LONG = 3 * 3600  # seconds of computing that are begun only when asked for


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know all letters of a file's name
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores hang-ups
            signal.signal(number, _leave)
    options = _parser().parse_args(arguments)
    if options.data:
        os.environ["HINAS_DATA"] = str(locations.absolute(options.data))
    if options.results:
        os.environ["HINAS_RESULTS"] = str(locations.absolute(options.results))
    try:
        return options.command(options) or 0
    except BrokenPipeError:  # `hinas-nb list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hinas_nb"):
            raise
        return _complain(f"{error.name} is not installed: pip install 'hinas_nb[notebooks]'")
    except (ValueError, OSError) as error:
        named = isinstance(error, OSError) and error.filename is not None and error.strerror
        return _complain(f"{error.filename}: {error.strerror}" if named else str(error))
    except (RecursionError, MemoryError, OverflowError) as error:
        return _complain(f"input must be nested less deeply and fit in memory, got {type(error).__name__}")
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on where this one stopped")
        return INTERRUPTED


def _leave(number: int, _) -> None:
    """End as after Ctrl-C: children are ended, temporary folders removed."""
    sys.exit(128 + number)


def _list(options) -> None:
    mine = locations.home() / "notebooks"
    paths = contract.find(["all"], mine if mine.is_dir() else collection.origin() / "notebooks")
    for path in paths:
        notebook = contract.read(path)
        number, _, name = notebook.name.partition("_")
        print(f"{number}  {name}")
        for word in ("Question", "Cost"):
            text = notebook.promises.get(word)
            if text:
                said = text if word == "Question" else f"Cost: {text}"
                print(textwrap.fill(said, 100, initial_indent="    ", subsequent_indent="    "))


def _run(options) -> int:
    settings, jobs = _prepared(options)
    from hinas_nb import files
    from hinas_nb.batch import forecast, front_door

    plans = front_door.plan(jobs, settings)
    _warn(*(f"note: {line}" for line in front_door.check_data(plans, settings)))
    places_to_go = dict.fromkeys(settings.place(job) for job in jobs)
    for folder in (settings.folder, *places_to_go):  # hours of computing need a place to go
        files.check_writable(folder)
    files.sweep(settings.folder)
    failed = {plan.notebook: plan.error for plan in plans if plan.error}
    _say(f"{_many(len(jobs), 'notebook')}, {_many(sum(len(plan.runs) for plan in plans), 'Run')} asked for")
    cost, seconds = forecast.until_done(plans, settings)
    if cost:
        _say(cost)
    if seconds > LONG and not options.yes:
        _confirm(f"this takes hours ({forecast.duration(seconds)})")
    runs_failed, without = front_door.compute(plans, settings)
    failed |= dict.fromkeys(without, "not executed: a Run that it needs failed")
    for name, seconds, error in front_door.execute([job for job in jobs if job.notebook.name not in failed], settings):
        _say(f"{'FAILED' if error else 'done  '} {name} ({seconds:.0f} s)")
        if error:
            failed[name] = error
    _warn(*(f"{name}: {error}" for name, error in failed.items()), *(f"Run failed: {line}" for line in runs_failed))
    where = " and ".join(map(str, places_to_go))
    _say(f"{len(jobs) - len(failed)} of {_many(len(jobs), 'notebook')} executed, results in {where}")
    return 1 if failed or runs_failed else 0


def _plan(options) -> int:
    settings, jobs = _prepared(options)
    from hinas_nb.batch import forecast, front_door

    plans = front_door.plan(jobs, settings)
    for line in forecast.lines(plans, jobs, settings, options.measure):
        _say(line)
    failed = [plan for plan in plans if plan.error]
    _warn(*(f"{plan.notebook}: {plan.error}" for plan in failed))
    return 1 if failed else 0


def _why(options) -> None:
    from hinas_nb.reporting import trace

    _say(*trace.why(options.word, locations.results()))


def _repeat(options) -> int:
    from hinas_nb.reporting import repeat

    lines, as_before = repeat.repeat(options.hash, locations.results(), locations.data(), _say)
    _say(*lines)
    return 0 if as_before else 1


def _status(options) -> None:
    from hinas_nb.running import status, store

    wanted = Path(options.profile).stem if options.profile else None
    folders = sorted(path for path in locations.results().glob("*/runs") if path.is_dir())
    folders = [path for path in folders if wanted in (None, path.parent.name)]
    if not folders:
        where = locations.results() / (wanted or "")
        raise ValueError(f"no Runs in {where}; hinas-nb run all --profile {wanted or 'smoke'} makes some")
    for folder in folders:
        table = status.status(store.Store(folder))
        counts = ", ".join(f"{count} {state}" for state, count in table["state"].value_counts().items())
        print(f"{folder.parent.name}: {counts or 'no Runs'}")
        if len(table):
            for name in ("what", "departs"):
                table[name] = table[name].str.ljust(table[name].str.len().max())
            lines = table.to_string(index=False, na_rep="", justify="left").splitlines()
            _say(*(line.rstrip() for line in lines))


def _report(options) -> None:
    from hinas_nb.reporting import report

    print(report.write(locations.results() / Path(options.profile).stem))


def _data_fetch(options) -> None:
    from tqdm import tqdm

    from hinas_nb.data.fetch import fetch

    with tqdm(unit="B", unit_scale=True, mininterval=1, disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        lines = fetch(options.name, progress=show)
    _say(*lines)


def _data_check(options) -> int:
    from hinas_nb.data import CATALOG, DataError
    from hinas_nb.data.check import check

    unknown = set(options.names) - set(CATALOG)
    if unknown:
        raise DataError(f"data set must be one of {', '.join(CATALOG)}, got {sorted(unknown)[0]!r}")
    rows = check(names=tuple(options.names) or tuple(CATALOG))
    _say(*(f"{row['set']:10} {row['split']:10} {row['state']:8} {row['images']:5}  {row['note']}" for row in rows))
    return 1 if any(row["state"] == "corrupt" for row in rows) else 0


def _restore(options) -> int:
    from hinas_nb import subprocesses
    from hinas_nb.use import networks

    subprocesses.keep_memory()
    names = ("sigma", "scale", "weights", "run", "engine", "device", "force")
    task = options.task or ("denoise" if options.scale is None else "sr")
    request = networks.Request(task, **{name: getattr(options, name) for name in names})
    if options.input.is_dir():
        return _restore_folder(options, request)
    from hinas_nb.use import restore

    with _bar() as show:
        lines = restore.restore_file(options.input, options.output, request, options.compare, show)
    _say(*lines)
    return 0


def _restore_folder(options, request) -> int:
    from hinas_nb.use import folders

    items, others = folders.items(options.input, options.output, options.compare)
    todo = [item for item in items if not item.is_done]
    failed = []
    with _bar() as show:
        for item, said, error in folders.restore_folder(todo, request, options.workers, show):
            if error:
                failed.append(error if str(item.source) in error else f"{item.source}: {error}")
            else:
                _say(f"{item.source.relative_to(options.input.resolve())}: {'; '.join(said)}")
    counts = {
        "restored": len(todo) - len(failed),
        "done before (another output folder makes them anew)": len(items) - len(todo),
        "failed": len(failed),
    }
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "restored")
    _say(said + (f"; {_many(others, 'file')} of other kinds left alone" if others else ""))
    _warn(*(f"failed: {line}" for line in failed))
    return 2 if failed else 0


def _score(options) -> int:
    from hinas_nb.scoring import protocol as protocols
    from hinas_nb.use import scores

    if options.csv is not None and options.csv.suffix != ".csv":
        raise ValueError(f"csv must be a file named .csv, got {options.csv}")
    protocol = protocols.get(options.protocol, scale=options.scale)
    pairs, unpaired = scores.pairs(options.restored, options.truth)
    table, failed = scores.table(pairs, protocol)
    _say(scores.described(protocol), *scores.lines(table))
    if options.csv is not None:
        scores.write(options.csv, table, protocol)
        _say(f"wrote {options.csv}")
    _warn(*(f"not scored: {line}" for line in (*unpaired, *failed)))
    return 2 if unpaired or failed else 0


def _start(options) -> None:
    _say(*collection.lay_out(options.folder))


def _publish(options) -> None:
    from hinas_nb.reporting import cards

    _say(*(f"wrote {path}" for path in cards.publish(options.run, locations.results(), options.to)))


def _export(options) -> None:
    *weights, output = options.files
    if len(weights) + (options.run is not None) != 1:
        raise ValueError("export takes WEIGHTS OUTPUT.onnx or --run HASH OUTPUT.onnx")
    from hinas_nb.method import network
    from hinas_nb.running import notes
    from hinas_nb.speed import export
    from hinas_nb.use import networks

    if options.run is not None:
        chosen = networks.named(networks.trained_runs(locations.results(), _warn), options.run)
        weights = [chosen.path / networks.WEIGHTS]
        _say(f"network: Run {chosen}")
    notes.finished(Path(weights[0]).parent)  # refuses weights that are not as their Run left them
    export.to_onnx(network.load(weights[0]), output)
    print(f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def _prepared(options):
    from hinas_nb.batch import front_door

    places = options.profile, locations.results(), locations.data()
    how = options.workers, options.threads, options.engine, getattr(options, "name", None)
    settings = front_door.Settings(*places, *how)
    jobs = front_door.prepare(options.notebooks, options.parameters, settings)
    stored = [job.notebook.name for job in jobs if job.notebook.has_outputs]
    _warn(*(f"note: {name} is stored with outputs; nbstripout removes them" for name in stored))
    return settings, jobs


def _confirm(what: str) -> None:
    """Ask whether to go on. Raises ValueError where nobody can answer, or says no."""
    if not sys.stdin.isatty():
        raise ValueError(f"{what}: --yes begins it")
    if input(f"{what}. Begin? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ValueError(f"{what}, and was not begun")


@contextmanager
def _bar():
    """Show how much is done and how long the rest takes; in a log every half minute. Yields what to tell the share."""
    from tqdm import tqdm

    form, pause = "{percentage:3.0f} % |{bar:30}| {elapsed} spent, {remaining} left", 30
    with tqdm(total=1, bar_format=form, leave=False, delay=2, mininterval=0.5 if sys.stderr.isatty() else pause) as bar:
        yield lambda share: bar.update(share - bar.n)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _say(*lines: str) -> None:
    for line in lines:
        print(printable(line), flush=True)


def _warn(*lines: str) -> None:
    """Print on stderr, a line each, whatever stands in the names they quote."""
    for line in lines:
        print(one_line(line), file=sys.stderr)


def _complain(line: str) -> int:
    _warn(f"hinas-nb: {line}")
    return 2


_PROTOCOLS = ["denoise-standard", "denoise-released", "sr-standard", "sr-released"]
_PICTURES = "PNG, JPEG, TIFF, WebP, BMP, GIF or PPM, grey or colour; of a folder all that is not yet done"
_NETWORK = ". The network is the one that --weights or --run names; else the one shipped for the task and scale."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """Say one line, without the usage that argparse prints before it."""
        sys.exit(_complain(message))


def _parser() -> argparse.ArgumentParser:
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser = _Parser("hinas-nb", description="HiNAS as notebooks: search, train, restore, report.")
    for one in (everywhere, parser):
        one.add_argument("--data", metavar="PATH", help="folder of the data sets (else HINAS_DATA)")
        one.add_argument("--results", metavar="PATH", help="folder of the results (else HINAS_RESULTS)")
    shtab.add_argument_to(parser, "--print-completion", help="a script that completes what is typed in this shell")
    parser.add_argument("--version", action="version", version=f"hinas-nb {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, function, text: str, more: str = "", under=commands) -> argparse.ArgumentParser:
        command = under.add_parser(name, help=text, description=f"{text}{more}", parents=[everywhere])
        command.set_defaults(command=function)
        return command

    add("list", _list, "the notebooks, what they ask and what they cost")
    for name, function, text in (
        ("run", _run, "compute what notebooks need and execute them"),
        ("plan", _plan, "the Runs that notebooks need, their hours here and what they can find"),
    ):
        command = add(name, function, text)
        command.add_argument("notebooks", nargs="+", metavar="NOTEBOOK", help="number, name or file, or all")
        command.add_argument("--profile", default="smoke", help="budget: smoke (default), laptop, paper or a YAML file")
        apart = "a parameter of the notebooks; repeatable; results are then kept apart, see --name"
        named = {"dest": "parameters", "metavar": "NAME=VALUE"}
        command.add_argument("-p", action="append", default=[], help=apart, **named)
        if name == "run":
            command.add_argument("--name", help="keep the results apart from the profile's, under this name")
            command.add_argument("--yes", action="store_true", help="begin without asking, however long it takes")
        else:
            measure = "for so long, begin Runs of unknown time, one of each kind; their first records are kept"
            command.add_argument("--measure", type=_at_least_one, default=0, metavar="SECONDS", help=measure)
        command.add_argument("--workers", type=_at_least_one, default=1, metavar="N", help="Runs or notebooks at once")
        command.add_argument("--threads", type=_at_least_one, default=1, metavar="N", help="threads of each")
        where = "where Runs are computed: N at once here (default), or all that a Ray cluster holds"
        command.add_argument("--engine", choices=["local", "ray"], default="local", help=where)
    add("status", _status, "the Runs in the results folder").add_argument("--profile", help="only this one")
    why = add("why", _why, "where a printed number or a Run comes from")
    why.add_argument("word", metavar="NUMBER|HASH", help="25.43, or six and more digits of a Run's hash")
    again = add("repeat", _repeat, "compute a finished Run once more, and compare")
    again.add_argument("hash", metavar="HASH", help="the first digits of a finished Run's")
    add("report", _report, "write the page results/PROFILE/index.html").add_argument("--profile", default="smoke")

    command = commands.add_parser("data", help="the data sets")
    data = command.add_subparsers(metavar="fetch|check", required=True, parser_class=_Parser)
    command = add("fetch", _data_fetch, "download a data set", under=data)
    command.add_argument("name", metavar="NAME", help="see data check")
    command = add("check", _data_check, "what is there, missing or corrupt", under=data)
    command.add_argument("names", nargs="*", help="data sets (else all)")

    command = add("restore", _restore, "restore your own picture, or all pictures of a folder", _NETWORK)
    command.add_argument("input", type=_path, metavar="INPUT", help=_PICTURES)
    command.add_argument("output", type=_path, metavar="OUTPUT", help="another file, or for a folder another folder")
    command.add_argument("--task", choices=["denoise", "sr"], help="remove noise (default), or enlarge (with --scale)")
    command.add_argument("--sigma", type=float, help="noise in grey levels 0-255 (else estimated)")
    command.add_argument("--scale", type=int, choices=[2, 3, 4], help="how many times larger (sr)")
    command.add_argument("--compare", type=_path, metavar="PATH", help="also write before and after side by side here")
    command.add_argument("--workers", type=_at_least_one, default=1, metavar="N", help="pictures of a folder at once")
    command.add_argument("--weights", type=_path, metavar="FILE", help="a weights.safetensors file")
    command.add_argument("--run", metavar="HASH", help="a training Run, by the start of its hash")
    said = "auto (default): ONNX Runtime for large pictures, where it is installed"
    command.add_argument("--engine", choices=["auto", "torch", "onnx"], default="auto", help=said)
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda or mps")
    far = "even where the noise lies far from what the network was trained for"
    command.add_argument("--force", action="store_true", help=far)

    command = add("score", _score, "score restored pictures against the true ones")
    command.add_argument("restored", type=_path, metavar="RESTORED", help="a picture, or a folder of them")
    command.add_argument("truth", type=_path, metavar="TRUTH", help="likewise; in folders the names must be equal")
    command.add_argument("--protocol", required=True, choices=_PROTOCOLS, help="what is compared, and how")
    command.add_argument("--scale", type=int, choices=[2, 3, 4], help="how many times larger (sr)")
    command.add_argument("--csv", type=_path, metavar="FILE", help="also write the table here")

    add("start", _start, "lay out notebooks and params in a folder of your own").add_argument("folder", type=_path)

    command = add("publish", _publish, "make the network of a Run the shipped one, with its model card")
    command.add_argument("run", metavar="HASH", help="a training Run, by the start of its hash")
    command.add_argument("--to", type=_path, metavar="FOLDER", help="another place than the package's")

    command = add("export", _export, "write a trained network as an ONNX file")
    command.add_argument("files", nargs="+", type=_path, metavar="FILE", help="[WEIGHTS] OUTPUT.onnx")
    command.add_argument("--run", metavar="HASH", help="a training Run, by the start of its hash, for WEIGHTS")
    return parser


def _path(text: str) -> Path:
    if not text:  # else the working folder
        raise argparse.ArgumentTypeError("must be a path, got ''")
    return Path(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
