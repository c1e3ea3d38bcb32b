"""The command line of `kubectl rollback`: verbs, options, and help that teaches."""

import argparse
from collections.abc import Sequence
from typing import Any

from rollback_operator.cli.plugin import values

OUTPUTS = ("wide", "json", "yaml", "name")
_DESCRIPTION = """\
See what rollback-operator thinks of your releases and what it has done, and decide what it asks.
"""
_EPILOG = """\
the first things to ask:
  kubectl rollback status -A                 how do the releases do that are watched?
  kubectl rollback history                   what was taken back in this namespace?
  kubectl rollback explain                   why was the newest one, and did it help?
  kubectl rollback report > incident.md      the same as an incident report

Cluster and namespace are chosen as with kubectl: --kubeconfig, --context, -n.
Completion: `kubectl rollback completion --help`.

in the night:
  kubectl rollback undo ticket-service --dry-run                            what would be done?
  kubectl rollback approve ticket-service-1f0c9a2b4d --reason "schema is compatible, asked Jo"
  kubectl rollback trust ticket-service --revision 6 --reason "it was the database"

exit status: 0 done; 1 refused or not found, the message names the remedy; 2 wrong usage, or no
cluster to ask; of `undo --wait` also 3 it has not helped, 4 it is not over in time.
"""


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
    for add in (
        _add_status,
        _add_watch,
        _add_history,
        _add_explain,
        _add_report,
        _add_undo,
        _add_approve,
        _add_reject,
        _add_trust,
        _add_suspend,
        _add_resume,
        _add_completion,
    ):
        add(verbs)
    return made


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse a command line; ends the process with status 2 where it is wrong.

    Returns:
        What was given; `verb` is None where none was.
    """
    given = vars(parser().parse_args(arguments))
    refuse = given.pop("refuse", None)
    if refuse is not None and given.get("reason", "") is None and not given.get("dry_run"):
        refuse("--reason TEXT is required: why, for the record")
    return given


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
    examples: str,
) -> argparse.ArgumentParser:
    first, _, rest = what.partition("\n")
    made = verbs.add_parser(
        name,
        help=first,
        description=f"{first[0].upper()}{first[1:]}.\n{rest}".rstrip(),
        epilog=f"examples:\n{examples}",
        formatter_class=_Formatter,
    )
    made.set_defaults(refuse=made.error)
    return made


def _add_cluster(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", default="", help="default: that of the context")
    group.add_argument("--context", default="", help="of the kubeconfig; default: the current one")
    group.add_argument("--kubeconfig", default="", metavar="FILE", help="default: as for kubectl")
    group.add_argument("--as", dest="user", default="", metavar="USER", help="act as another user")
    group.add_argument(
        "--as-group", dest="group", default="", metavar="GROUP", help="of this group"
    )


def _add_output(made: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    made.add_argument(
        "-o", "--output", choices=formats, default="", metavar="FORMAT",
        help=f"{', '.join(formats[:-1])} or {formats[-1]}; default: for people",
    )  # fmt: skip
    _add_color(made)


def _add_color(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto",
        help="default: auto, on a terminal only, and never where NO_COLOR is set",
    )  # fmt: skip


def _add_all(made: argparse.ArgumentParser) -> None:
    made.add_argument("-A", "--all-namespaces", action="store_true", help="of the whole cluster")


def _add_listing(made: argparse.ArgumentParser) -> None:
    """Take what lists policies or rollbacks takes: of which, from where, how it is shown."""
    made.add_argument("name", nargs="?", default="", metavar="POLICY", help="or its Deployment")
    _add_all(made)
    _add_output(made, OUTPUTS)
    _add_cluster(made)


def _add_status(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "status",
        "tell how the watched releases do\n"
        "One line a policy: what is thought of the running release, how bad it is, the last "
        "rollback.\nBelow the table: what keeps a policy from its work, and the remedy.",
        "  kubectl rollback status\n"
        "  kubectl rollback status ticket-service -o wide   with the reason in words\n"
        "  kubectl rollback status -A\n",
    )
    _add_listing(made)


def _add_watch(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "watch",
        "show a release while it goes out\n"
        "Pods, requests, errors, odds against both bounds, verdict and steps, once a second, until "
        "q or\nCtrl-C. The counts are asked for by an annotation, which takes the right to patch "
        "the policy.",
        "  kubectl rollback watch ticket-service\n"
        "  kubectl rollback watch ticket-service --once     one frame, as text\n",
    )
    made.add_argument("name", nargs="?", default="", metavar="POLICY", help="or its Deployment")
    made.add_argument(
        "--once", action="store_true",
        help="print one frame and end; the default where the output is no terminal",
    )  # fmt: skip
    _add_color(made)
    _add_cluster(made)


def _add_history(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "history",
        "list rollbacks, the newest first\n"
        "Each with where it went from and to, how it ended, and how long it took.",
        "  kubectl rollback history\n"
        "  kubectl rollback history ticket-service          of one policy or Deployment\n"
        "  kubectl rollback history -A -o wide              who or what decided, and why\n",
    )
    _add_listing(made)


def _add_explain(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "explain",
        "explain a decision: counts, odds, checklist, steps, verification\n"
        "Of a rollback by its name, else of a policy what is thought of the release that runs; "
        "without\na name the newest rollback of the namespace.",
        "  kubectl rollback explain                             the newest rollback\n"
        "  kubectl rollback explain ticket-service-1f0c9a2b4d   this one\n"
        "  kubectl rollback explain policy/ticket-service       why nothing is done, for example\n",
    )
    made.add_argument("name", nargs="?", default="", help="a Rollback's or a policy's")
    _add_output(made, ("json", "yaml", "name"))
    _add_cluster(made)


def _add_report(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "report",
        "print a rollback as an incident report in Markdown\n"
        "Cause, evidence, timeline, checklist, verification and what follows, from what is stored.",
        "  kubectl rollback report > incident.md             of the newest rollback\n"
        "  kubectl rollback report ticket-service            of this policy's newest\n",
    )
    made.add_argument("name", nargs="?", default="", help="a Rollback's or a policy's")
    _add_cluster(made)


def _add_undo(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "undo",
        "ask the operator for a rollback\n"
        "Makes a Rollback by hand: checked, carried out and verified as the operator's own. Images "
        "that\nthis Deployment has never run and revisions known bad are refused.",
        '  kubectl rollback undo ticket-service --reason "customers call"\n'
        "  kubectl rollback undo ticket-service --to previous --dry-run\n"
        "  kubectl rollback undo ticket-service --to 5 --wait --reason x\n"
        "  kubectl rollback undo ticket-service --image app=example.com/app:v1 --reason x\n"
        "  kubectl rollback undo ticket-service --replicas 8 --reason x\n",
    )
    made.add_argument("name", nargs="?", default="", metavar="POLICY", help="or its Deployment")
    what = made.add_mutually_exclusive_group()
    what.add_argument(
        "--to", default="last-known-good", type=values.way, metavar="REVISION",
        help="last-known-good (default), previous, or a number as `kubectl rollout history` has it",
    )  # fmt: skip
    what.add_argument(
        "--image", type=values.image, metavar="CONTAINER=IMAGE", help="pin an image it ran"
    )
    what.add_argument(
        "--replicas", type=values.replicas, metavar="N", help="scale up, and change nothing else"
    )
    made.add_argument("--dry-run", action="store_true", help="show plan and template diff only")
    made.add_argument(
        "--wait", action="store_true", help="stay until it is over, and tell the steps"
    )
    made.add_argument(
        "--timeout",
        type=values.seconds,
        default=1800,
        metavar="SECONDS",
        help="of --wait; default: 1800",
    )
    _add_reason(made)
    _add_output(made, ("json", "yaml", "name"))
    _add_cluster(made)


def _add_approve(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "approve",
        "let a rollback go on that waits for a person\n"
        "It is approved for the plan as it is shown; if the plan changes it waits again. Takes "
        "the\nright to update rollbacks/approval. Who approved is stored.",
        '  kubectl rollback approve ticket-service-1f0c9a2b4d --reason "schema is compatible"\n'
        "  kubectl rollback approve ticket-service --plan 1f0c9a2b --reason x   only this plan\n",
    )
    _add_decision(made)


def _add_reject(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "reject",
        "end a rollback that waits for a person\n"
        "Nothing is done to the Deployment. Takes the right to update rollbacks/approval.",
        '  kubectl rollback reject ticket-service-1f0c9a2b4d --reason "fixed forward"\n',
    )
    _add_decision(made)


def _add_decision(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", nargs="?", default="", help="a Rollback's or a policy's")
    made.add_argument("--plan", default="", metavar="DIGEST", help="only if this is the plan still")
    _add_reason(made)
    _add_output(made, ("json", "yaml", "name"))
    _add_cluster(made)


def _add_trust(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "trust",
        "let rollbacks lead to a revision that was found bad or was taken back\n"
        "Your word is stored in the policy's spec.trust with your name. A finding that is newer "
        "counts\nagain. Takes the right to update the policy; one that is kept in Git is to be "
        "changed there too.",
        '  kubectl rollback trust ticket-service --revision 6 --reason "it was the database"\n'
        "  kubectl rollback trust ticket-service --revision 6 --dry-run   what it overrules\n",
    )
    made.add_argument("name", nargs="?", default="", metavar="POLICY", help="or its Deployment")
    made.add_argument(
        "--revision", required=True, type=values.number, metavar="N",
        help="as `kubectl rollout history` has it",
    )  # fmt: skip
    made.add_argument("--dry-run", action="store_true", help="show what is trusted, and why not")
    _add_reason(made)
    _add_output(made, ("json", "yaml", "name"))
    _add_cluster(made)


def _add_suspend(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "suspend",
        "keep the operator from judging and acting by itself\n"
        "What has begun is finished; what a person asks for with undo is still done. A policy that "
        "is kept\nin Git is to be changed there too, or comes back.",
        "  kubectl rollback suspend ticket-service\n"
        '  kubectl rollback suspend --all-namespaces --reason "network maintenance"\n',
    )
    made.add_argument(
        "-A", "--all-namespaces", action="store_true",
        help="stop everything: within 5 s no operator of the cluster acts, for anybody",
    )  # fmt: skip
    made.add_argument(
        "--reason",
        default="",
        type=values.reason_or_none,
        metavar="TEXT",
        help="why; with -A required",
    )
    _add_switch(made)


def _add_resume(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "resume",
        "let the operator judge and act again\n"
        "The bounds of a HorizontalPodAutoscaler that a Scale has raised are put back, unless "
        "somebody\nelse has set them since.",
        "  kubectl rollback resume ticket-service\n"
        "  kubectl rollback resume --all-namespaces         lifts a stop for everything\n",
    )
    made.add_argument("-A", "--all-namespaces", action="store_true", help="lift a stop of all")
    _add_switch(made)


def _add_switch(made: argparse.ArgumentParser) -> None:
    made.add_argument("name", nargs="?", default="", metavar="POLICY", help="or its Deployment")
    _add_output(made, ("json", "yaml", "name"))
    _add_cluster(made)


def _add_reason(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--reason", default=None, type=values.reason, metavar="TEXT", help="why, for the record"
    )


def _add_completion(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    made = _verb(
        verbs,
        "completion",
        "print what a shell needs to complete `kubectl-rollback`\n"
        "`kubectl rollback <TAB>` needs nothing of it: kubectl asks kubectl_complete-rollback, "
        "which is\ninstalled beside this command.",
        "  source <(kubectl rollback completion bash)\n"
        "  kubectl rollback completion zsh > ${fpath[1]}/_kubectl-rollback\n"
        "  kubectl rollback completion fish > ~/.config/fish/completions/kubectl-rollback.fish\n",
    )
    made.add_argument("shell", choices=("bash", "zsh", "fish"))
