"""The command line of `kubectl rollback`: verbs, options, and help with examples."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rollback_operator.api.crd import LONGEST_REASON
from rollback_operator.api.remedy import MOST_REPLICAS
from rollback_operator.cli.plugin.connection import POLICIES, ROLLBACKS

_Option = Callable[[argparse.ArgumentParser], object]
OUTPUTS = ("wide", "json", "yaml", "name")
_DESCRIPTION = """\
Show the releases that rollback-operator evaluates and its rollbacks, and take the decisions that it
requests.
"""
_EPILOG = """\
first commands:
  kubectl rollback status -A                 status of all watched releases
  kubectl rollback history                   rollbacks in this namespace
  kubectl rollback explain                   cause and result of the newest rollback
  kubectl rollback report > incident.md      the same as an incident report

Cluster and namespace are chosen as with kubectl: --kubeconfig, --context, -n.
Completion: `kubectl rollback completion --help`.

during an incident:
  kubectl rollback undo ticket-service --dry-run                            shows the plan
  kubectl rollback approve ticket-service-1f0c9a2b4d --reason "schema is compatible, asked Jo"
  kubectl rollback trust ticket-service --revision 6 --reason "it was the database"

exit status: 0 done; 1 refused or not found, the message names the remedy; 2 wrong usage, or no
reachable cluster; with `undo --wait` also 3 ended without recovery, 4 still in progress at the
timeout.
"""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, its help, and the functions that add its options."""

    name: str
    text: str
    """The summary in the first line, and the rest of the description."""
    examples: str
    options: tuple[_Option, ...]
    kinds: tuple[str, ...] = ()
    """The kinds of objects whose names complete a command line."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def parser() -> argparse.ArgumentParser:
    """Make the whole parser."""
    made = argparse.ArgumentParser(
        prog="kubectl rollback",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=_Formatter,
    )
    verbs = made.add_subparsers(dest="verb", metavar="VERB")
    for verb in VERBS:
        first, _, rest = verb.text.partition("\n")
        added = verbs.add_parser(
            verb.name,
            help=first,
            description=f"{first[0].upper()}{first[1:]}.\n{rest}".rstrip(),
            epilog=f"examples:\n{verb.examples}",
            formatter_class=_Formatter,
        )
        added.set_defaults(end=added.exit)
        for add in verb.options:
            add(added)
    return made


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; ends the process with status 2 if it is wrong.

    Returns:
        The options; `verb` is None if none was given.
    """
    given = vars(parser().parse_args(arguments))
    end = given.pop("end", None)
    if end is not None and given.get("reason", "") is None and not given.get("dry_run"):
        example = shlex.join(["kubectl", "rollback", *arguments])
        end(
            2,
            "kubectl rollback: --reason TEXT is required; it is stored with the decision. For "
            f'example:\n{example} --reason "customers call"\n',
        )
    return given


# -- values ----------------------------------------------------------------------------------------


def _target(text: str) -> dict[str, object]:
    """Parse the target of an undo."""
    named = {"last-known-good": "LastKnownGood", "previous": "Previous"}
    if text.lower() in named:
        return {"type": "Undo", "to": named[text.lower()]}
    if text.isdecimal() and int(text) > 0:
        return {"type": "Undo", "to": "Revision", "revision": int(text)}
    raise argparse.ArgumentTypeError(f"{text} is not last-known-good, previous or a number")


def _number(text: str) -> int:
    """Parse a revision number."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a revision number")
    return int(text)


def _replica_count(text: str) -> int:
    """Parse a number of replicas."""
    if not (text.isdecimal() and 0 <= int(text) <= MOST_REPLICAS):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {MOST_REPLICAS}")
    return int(text)


def _seconds(text: str) -> float:
    """Parse a duration."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def _reason_text(text: str) -> str:
    """Parse a reason."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the reason is empty")
    if len(text) > LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"the reason is longer than {LONGEST_REASON} characters")
    return text


def _image(text: str) -> dict[str, object]:
    """Parse a container and its image."""
    container, sign, wanted = text.partition("=")
    if not (container and sign and wanted):
        raise argparse.ArgumentTypeError(f"{text} does not have the form CONTAINER=IMAGE")
    return {"type": "PinImage", "container": container, "image": wanted}


# -- options ---------------------------------------------------------------------------------------


def _option(*names: str, **settings: Any) -> _Option:
    return lambda made: made.add_argument(*names, **settings)


def _flag(*names: str, text: str) -> _Option:
    return _option(*names, action="store_true", help=text)


def _text(*names: str, metavar: str | None = None, text: str, **settings: Any) -> _Option:
    settings = {"default": "", "metavar": metavar, "help": text, **settings}
    return _option(*names, **settings)


def _output(formats: Sequence[str] = OUTPUTS[1:]) -> _Option:
    text = f"{', '.join(formats[:-1])} or {formats[-1]}; default: text"
    return _text("-o", "--output", choices=formats, metavar="FORMAT", text=text)


def _cluster(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("cluster")
    for names, destination, metavar, text in (
        (("-n", "--namespace"), "namespace", None, "default: that of the context"),
        (("--context",), "context", None, "of the kubeconfig; default: the current context"),
        (("--kubeconfig",), "kubeconfig", "FILE", "default: as for kubectl"),
        (("--as",), "user", "USER", "user to impersonate"),
        (("--as-group",), "group", "GROUP", "group to impersonate"),
    ):
        group.add_argument(*names, dest=destination, default="", metavar=metavar, help=text)


def _remedy(made: argparse.ArgumentParser) -> None:
    remedy = made.add_mutually_exclusive_group()
    for name, parse_value, metavar, default, text in (
        (
            "--to", _target, "REVISION", "last-known-good",
            "last-known-good (default), previous, or a number as in `kubectl rollout history`",
        ),
        ("--image", _image, "CONTAINER=IMAGE", None, "pin an image that it ran"),
        ("--replicas", _replica_count, "N", None, "scale up, or to 0 until a resume"),
    ):  # fmt: skip
        remedy.add_argument(name, type=parse_value, metavar=metavar, default=default, help=text)


_POLICY = _text("name", nargs="?", metavar="POLICY", text="policy or its Deployment")
_ANY = _text("name", nargs="?", text="name of a Rollback or a policy")
_COLOR = _option(
    "--color", choices=("auto", "always", "never"), default="auto",
    help="default: auto, on a terminal only, and never if NO_COLOR is set",
)  # fmt: skip
_PRINTED = (_output(), _COLOR, _cluster)
_LISTED = (
    _POLICY,
    _flag("-A", "--all-namespaces", text="in all namespaces"),
    *(_output(OUTPUTS), _COLOR, _cluster),
)
_DRY_RUN = _flag("--dry-run", text="show the result, change nothing")
_REASON = _text(
    "--reason", default=None, type=_reason_text, metavar="TEXT",
    text="reason, stored with the decision",
)  # fmt: skip
_DECISION = (
    _ANY,
    _text("--plan", metavar="DIGEST", text="only if this is still the plan"),
    _REASON,
    *_PRINTED,
)


# -- verbs -----------------------------------------------------------------------------------------

VERBS = (
    Verb(
        "status",
        "show the status of the watched releases\n"
        "One row per policy: verdict and severity of the running release, and the last rollback.\n"
        "Below the table: what keeps a policy from its work, and the remedy.",
        "  kubectl rollback status\n"
        "  kubectl rollback status ticket-service -o wide   with the reason\n"
        "  kubectl rollback status -A\n",
        _LISTED,
        (POLICIES,),
    ),
    Verb(
        "watch",
        "show a rollout live\n"
        "Pods, requests, errors, odds against both bounds, verdict and steps, once a second, until "
        "q or\nCtrl-C. The counts are requested by an annotation, which requires permission to "
        "patch the policy.",
        "  kubectl rollback watch ticket-service\n"
        "  kubectl rollback watch ticket-service --once     one frame, as text\n",
        (
            _POLICY,
            _flag(
                "--once", text="print one frame and exit; the default if the output is no terminal"
            ),
            *(_COLOR, _cluster),
        ),
        (POLICIES,),
    ),
    Verb(
        "history",
        "list rollbacks, the newest first\n"
        "Each row shows the revisions, the outcome and the duration.",
        "  kubectl rollback history\n"
        "  kubectl rollback history ticket-service          of one policy or Deployment\n"
        "  kubectl rollback history -A -o wide              with requester and reason\n",
        _LISTED,
        (POLICIES,),
    ),
    Verb(
        "explain",
        "explain a decision: counts, odds, checklist, steps, verification\n"
        "With the name of a rollback: that rollback. With the name of a policy: the verdict on the "
        "running\nrelease. Without a name: the newest rollback of the namespace.",
        "  kubectl rollback explain                             the newest rollback\n"
        "  kubectl rollback explain ticket-service-1f0c9a2b4d   this rollback\n"
        "  kubectl rollback explain policy/ticket-service       why no rollback follows\n",
        (_ANY, *_PRINTED),
        (ROLLBACKS, POLICIES),
    ),
    Verb(
        "report",
        "print a rollback as an incident report in Markdown\n"
        "Cause, evidence, timeline, checklist, verification and next steps, from stored data.",
        "  kubectl rollback report > incident.md             of the newest rollback\n"
        "  kubectl rollback report ticket-service            of this policy's newest\n",
        (_ANY, _cluster),
        (ROLLBACKS, POLICIES),
    ),
    Verb(
        "undo",
        "request a rollback\n"
        "Creates a Rollback that the operator checks, executes and verifies as its own. Images "
        "that this\nDeployment has never run and revisions known as bad are refused.",
        '  kubectl rollback undo ticket-service --reason "customers call"\n'
        "  kubectl rollback undo ticket-service --to previous --dry-run\n"
        "  kubectl rollback undo ticket-service --to 5 --wait --reason x\n"
        "  kubectl rollback undo ticket-service --image app=example.com/app:v1 --reason x\n"
        "  kubectl rollback undo ticket-service --replicas 8 --reason x\n",
        (
            *(_POLICY, _remedy, _DRY_RUN, _REASON),
            _flag("--wait", text="wait for the end and print each step"),
            _text(
                "--timeout",
                type=_seconds,
                default=1800,
                metavar="SECONDS",
                text="of --wait; default: 1800",
            ),
            *_PRINTED,
        ),
        (POLICIES,),
    ),
    Verb(
        "approve",
        "approve a rollback that awaits approval\n"
        "The approval applies to the plan as shown; a changed plan requires a new approval. "
        "Requires\npermission to update rollbacks/approval. The name of the approver is stored.",
        '  kubectl rollback approve ticket-service-1f0c9a2b4d --reason "schema is compatible"\n'
        "  kubectl rollback approve ticket-service --plan 1f0c9a2b --reason x   only this plan\n",
        _DECISION,
        (ROLLBACKS,),
    ),
    Verb(
        "reject",
        "reject a rollback that awaits approval\n"
        "The Deployment stays unchanged. Requires permission to update rollbacks/approval.",
        '  kubectl rollback reject ticket-service-1f0c9a2b4d --reason "fixed forward"\n',
        _DECISION,
        (ROLLBACKS,),
    ),
    Verb(
        "trust",
        "allow rollbacks to a revision that was found bad or was rolled back\n"
        "Stores an entry with your name in the policy's spec.trust. Later findings against the "
        "revision\ncount again. Requires permission to update the policy; change a policy that is "
        "kept in Git there too.",
        '  kubectl rollback trust ticket-service --revision 6 --reason "it was the database"\n'
        "  kubectl rollback trust ticket-service --revision 6 --dry-run   what it overrules\n",
        (
            _POLICY,
            _option(
                "--revision",
                required=True,
                type=_number,
                metavar="N",
                help="as in `kubectl rollout history`",
            ),
            *(_DRY_RUN, _REASON),
            *_PRINTED,
        ),
        (POLICIES,),
    ),
    Verb(
        "suspend",
        "suspend automatic evaluation and rollback\n"
        "A rollback that has started is finished, and requests by undo are still executed. Change "
        "a "
        "policy\nthat is kept in Git there too; otherwise Git resumes it.",
        '  kubectl rollback suspend ticket-service --reason "load test until 15:00"\n'
        '  kubectl rollback suspend --all-namespaces --reason "network maintenance"\n',
        (
            _POLICY,
            _flag(
                "-A",
                "--all-namespaces",
                text="stop every operator of the cluster within 5 s, for all policies and requests",
            ),
            _REASON,
            *_PRINTED,
        ),
        (POLICIES,),
    ),
    Verb(
        "resume",
        "resume automatic evaluation and rollback\n"
        "The bounds of a HorizontalPodAutoscaler that a Scale raised, and traffic that a rollback "
        "stopped,\nare restored, unless they have been changed since.",
        "  kubectl rollback resume ticket-service\n"
        "  kubectl rollback resume --all-namespaces         ends a stop of every operator\n",
        (
            _POLICY,
            _flag("-A", "--all-namespaces", text="end a stop of every operator"),
            *_PRINTED,
        ),
        (POLICIES,),
    ),
    Verb(
        "completion",
        "print the shell completion script of `kubectl-rollback`\n"
        "`kubectl rollback <TAB>` does not need it: kubectl calls kubectl_complete-rollback, which "
        "is\ninstalled beside this command.",
        "  source <(kubectl rollback completion bash)\n"
        "  kubectl rollback completion zsh > ${fpath[1]}/_kubectl-rollback\n"
        "  kubectl rollback completion fish > ~/.config/fish/completions/kubectl-rollback.fish\n",
        (_option("shell", choices=("bash", "zsh", "fish")),),
    ),
)
