"""The command line of `kubectl rollback`: verbs, options, and help with examples."""

import argparse
from collections.abc import Sequence
from typing import Any, TypeAlias

from rollback_operator.cli.plugin import values

OUTPUTS = ("wide", "json", "yaml", "name")
_Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
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
_POLICY, _ANY = ("POLICY", "policy or its Deployment"), (None, "name of a Rollback or a policy")
_ONE = ("json", "yaml", "name")


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
    """Parse a command line; ends the process with status 2 if it is wrong.

    Returns:
        The options; `verb` is None if none was given.
    """
    given = vars(parser().parse_args(arguments))
    refuse = given.pop("refuse", None)
    if refuse is not None and given.get("reason", "") is None and not given.get("dry_run"):
        refuse("--reason TEXT is required; it is stored with the decision")
    return given


def _verb(verbs: _Verbs, name: str, text: str, examples: str) -> argparse.ArgumentParser:
    first, _, rest = text.partition("\n")
    made = verbs.add_parser(
        name,
        help=first,
        description=f"{first[0].upper()}{first[1:]}.\n{rest}".rstrip(),
        epilog=f"examples:\n{examples}",
        formatter_class=_Formatter,
    )
    made.set_defaults(refuse=made.error)
    return made


def _add_name(made: argparse.ArgumentParser, kind: tuple[str | None, str]) -> None:
    made.add_argument("name", nargs="?", default="", metavar=kind[0], help=kind[1])


def _add_cluster(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", default="", help="default: that of the context")
    group.add_argument("--context", default="", help="of the kubeconfig; default: the current one")
    group.add_argument("--kubeconfig", default="", metavar="FILE", help="default: as for kubectl")
    group.add_argument("--as", dest="user", default="", metavar="USER", help="user to impersonate")
    group.add_argument(
        "--as-group", dest="group", default="", metavar="GROUP", help="group to impersonate"
    )


def _add_output(made: argparse.ArgumentParser, formats: tuple[str, ...] = _ONE) -> None:
    made.add_argument(
        "-o", "--output", choices=formats, default="", metavar="FORMAT",
        help=f"{', '.join(formats[:-1])} or {formats[-1]}; default: text",
    )  # fmt: skip
    _add_color(made)
    _add_cluster(made)


def _add_color(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto",
        help="default: auto, on a terminal only, and never if NO_COLOR is set",
    )  # fmt: skip


def _add_listing(made: argparse.ArgumentParser) -> None:
    """Add the options of a verb that lists policies or rollbacks."""
    _add_name(made, _POLICY)
    made.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    _add_output(made, OUTPUTS)


def _add_status(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "status",
        "show the status of the watched releases\n"
        "One row per policy: verdict and severity of the running release, and the last rollback.\n"
        "Below the table: what keeps a policy from its work, and the remedy.",
        "  kubectl rollback status\n"
        "  kubectl rollback status ticket-service -o wide   with the reason\n"
        "  kubectl rollback status -A\n",
    )
    _add_listing(made)


def _add_watch(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "watch",
        "show a rollout live\n"
        "Pods, requests, errors, odds against both bounds, verdict and steps, once a second, until "
        "q or\nCtrl-C. The counts are requested by an annotation, which requires permission to "
        "patch the policy.",
        "  kubectl rollback watch ticket-service\n"
        "  kubectl rollback watch ticket-service --once     one frame, as text\n",
    )
    _add_name(made, _POLICY)
    made.add_argument(
        "--once", action="store_true",
        help="print one frame and exit; the default if the output is not a terminal",
    )  # fmt: skip
    _add_color(made)
    _add_cluster(made)


def _add_history(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "history",
        "list rollbacks, the newest first\n"
        "Each row shows the revisions, the outcome and the duration.",
        "  kubectl rollback history\n"
        "  kubectl rollback history ticket-service          of one policy or Deployment\n"
        "  kubectl rollback history -A -o wide              with requester and reason\n",
    )
    _add_listing(made)


def _add_explain(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "explain",
        "explain a decision: counts, odds, checklist, steps, verification\n"
        "With the name of a rollback: that rollback. With the name of a policy: the verdict on the "
        "running\nrelease. Without a name: the newest rollback of the namespace.",
        "  kubectl rollback explain                             the newest rollback\n"
        "  kubectl rollback explain ticket-service-1f0c9a2b4d   this rollback\n"
        "  kubectl rollback explain policy/ticket-service       why no rollback follows\n",
    )
    _add_name(made, _ANY)
    _add_output(made)


def _add_report(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "report",
        "print a rollback as an incident report in Markdown\n"
        "Cause, evidence, timeline, checklist, verification and next steps, from stored data.",
        "  kubectl rollback report > incident.md             of the newest rollback\n"
        "  kubectl rollback report ticket-service            of this policy's newest\n",
    )
    _add_name(made, _ANY)
    _add_cluster(made)


def _add_undo(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "undo",
        "request a rollback\n"
        "Creates a Rollback that the operator checks, executes and verifies as its own. Images "
        "that this\nDeployment has never run and revisions known as bad are refused.",
        '  kubectl rollback undo ticket-service --reason "customers call"\n'
        "  kubectl rollback undo ticket-service --to previous --dry-run\n"
        "  kubectl rollback undo ticket-service --to 5 --wait --reason x\n"
        "  kubectl rollback undo ticket-service --image app=example.com/app:v1 --reason x\n"
        "  kubectl rollback undo ticket-service --replicas 8 --reason x\n",
    )
    _add_name(made, _POLICY)
    remedy = made.add_mutually_exclusive_group()
    remedy.add_argument(
        "--to", default="last-known-good", type=values.undo_target, metavar="REVISION",
        help="last-known-good (default), previous, or a number as in `kubectl rollout history`",
    )  # fmt: skip
    remedy.add_argument(
        "--image", type=values.image, metavar="CONTAINER=IMAGE", help="pin an image that it ran"
    )
    remedy.add_argument(
        "--replicas", type=values.replicas, metavar="N", help="scale up, and change nothing else"
    )
    made.add_argument("--dry-run", action="store_true", help="only show plan and template diff")
    made.add_argument("--wait", action="store_true", help="wait for the end and print each step")
    made.add_argument(
        "--timeout", type=values.seconds, default=1800, metavar="SECONDS",
        help="of --wait; default: 1800",
    )  # fmt: skip
    _add_reason(made)
    _add_output(made)


def _add_approve(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "approve",
        "approve a rollback that awaits approval\n"
        "The approval applies to the plan as shown; a changed plan requires a new approval. "
        "Requires\npermission to update rollbacks/approval. The name of the approver is stored.",
        '  kubectl rollback approve ticket-service-1f0c9a2b4d --reason "schema is compatible"\n'
        "  kubectl rollback approve ticket-service --plan 1f0c9a2b --reason x   only this plan\n",
    )
    _add_decision(made)


def _add_reject(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "reject",
        "reject a rollback that awaits approval\n"
        "The Deployment stays unchanged. Requires permission to update rollbacks/approval.",
        '  kubectl rollback reject ticket-service-1f0c9a2b4d --reason "fixed forward"\n',
    )
    _add_decision(made)


def _add_decision(made: argparse.ArgumentParser) -> None:
    _add_name(made, _ANY)
    made.add_argument("--plan", default="", metavar="DIGEST", help="only if this is still the plan")
    _add_reason(made)
    _add_output(made)


def _add_trust(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "trust",
        "allow rollbacks to a revision that was found bad or was rolled back\n"
        "Stores an entry with your name in the policy's spec.trust. Later findings against the "
        "revision\ncount again. Requires permission to update the policy; change a policy that is "
        "kept in Git there too.",
        '  kubectl rollback trust ticket-service --revision 6 --reason "it was the database"\n'
        "  kubectl rollback trust ticket-service --revision 6 --dry-run   what it overrules\n",
    )
    _add_name(made, _POLICY)
    made.add_argument(
        "--revision", required=True, type=values.number, metavar="N",
        help="as in `kubectl rollout history`",
    )  # fmt: skip
    made.add_argument("--dry-run", action="store_true", help="only show the entry")
    _add_reason(made)
    _add_output(made)


def _add_suspend(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "suspend",
        "suspend automatic evaluation and rollback\n"
        "A rollback that has started is finished, and requests by undo are still executed. Change "
        "a "
        "policy\nthat is kept in Git there too; otherwise Git resumes it.",
        "  kubectl rollback suspend ticket-service\n"
        '  kubectl rollback suspend --all-namespaces --reason "network maintenance"\n',
    )
    made.add_argument(
        "-A", "--all-namespaces", action="store_true",
        help="stop every operator of the cluster within 5 s, for all policies and requests",
    )  # fmt: skip
    made.add_argument(
        "--reason", default="", type=values.reason_or_none, metavar="TEXT",
        help="reason of the stop; required with -A",
    )  # fmt: skip
    _add_name(made, _POLICY)
    _add_output(made)


def _add_resume(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "resume",
        "resume automatic evaluation and rollback\n"
        "The bounds of a HorizontalPodAutoscaler that a Scale raised are restored, unless they "
        "have been\nchanged since.",
        "  kubectl rollback resume ticket-service\n"
        "  kubectl rollback resume --all-namespaces         ends a stop of every operator\n",
    )
    made.add_argument(
        "-A", "--all-namespaces", action="store_true", help="end a stop of every operator"
    )
    _add_name(made, _POLICY)
    _add_output(made)


def _add_reason(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--reason", default=None, type=values.reason, metavar="TEXT",
        help="reason, stored with the decision",
    )  # fmt: skip


def _add_completion(verbs: _Verbs) -> None:
    made = _verb(
        verbs,
        "completion",
        "print the shell completion script of `kubectl-rollback`\n"
        "`kubectl rollback <TAB>` does not need it: kubectl calls kubectl_complete-rollback, which "
        "is\ninstalled beside this command.",
        "  source <(kubectl rollback completion bash)\n"
        "  kubectl rollback completion zsh > ${fpath[1]}/_kubectl-rollback\n"
        "  kubectl rollback completion fish > ~/.config/fish/completions/kubectl-rollback.fish\n",
    )
    made.add_argument("shell", choices=("bash", "zsh", "fish"))
