"""Messages of the pass in the words of Compose, with commands that work there.

The pure rooms word a message for Kubernetes. Here the few terms that differ are replaced where the
text leaves the agent, so that no rule has to know two platforms.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from rollback_operator.model.message import Message, Moment

_UNDO = re.compile(r"kubectl rollback undo \S+ -n \S+( --to \S+)?( --dry-run)?( --reason TEXT)?")
_VERB = re.compile(r"kubectl rollback (approve|reject|explain)( \S+)? -n \S+")
_DESCRIBE = re.compile(r"kubectl describe \S+ (\S+) -n \S+")
_LOGS = re.compile(r"kubectl logs deployment/(\S+) -n \S+ --since=(\S+) --tail=(\d+)")
_STATUS = re.compile(r"kubectl (?:rollout status|get) deployments?/?(\S*) -n \S+")
_HISTORY = re.compile(r"kubectl rollout history deployment/\S+ -n \S+")
_OTHERS = re.compile(r"kubectl rollback (trust|resume|suspend)[^,;.]*")
_TERMS = (
    (r"\bThe Deployment controller\b", "Compose"),
    (r"\bthe Deployment controller\b", "Compose"),
    (r"\bpod templates?\b", "settings"),
    (r"\bDeployments\b", "services"),
    (r"\bDeployment\b", "service"),
    (r"\bReplicaSets\b", "revisions"),
    (r"\bReplicaSet\b", "revision"),
    (r"\breplicas are available\b", "containers are available"),
    (r"\breplicas?\b", "containers"),
    (r"\bPods\b", "Containers"),
    (r"\bpods\b", "containers"),
    (r"\bpod\b", "container"),
    (r"\bthe operator's log\b", "the agent's log"),
    (r"\bthe operator\b", "the agent"),
    (r"\bThe operator\b", "The agent"),
    (r"\bKubernetes status\b", "state in Docker"),
    (r"\b1 of 1 nodes\b", "this machine"),
    (r"\b0 of 1 nodes\b", "no disk"),
    (r"\bin this cluster\b", "of this agent"),
    (r"\bin this namespace\b", "in the Compose file"),
    (r"\bnamespace\b", "project"),
)
_COMPILED = tuple((re.compile(pattern), word) for pattern, word in _TERMS)
_MOST = 64 * 1024


class Words:
    """Rewords texts for a project."""

    def __init__(self, command: str, compose: str) -> None:
        """Know what a person types.

        Args:
            command: `rollback-operator compose -f FILE`.
            compose: Compose with its files.
        """
        self._command = command
        self._compose = compose

    def text(self, text: str) -> str:
        """Reword a text."""
        command, compose = self._command, self._compose
        text = _UNDO.sub(lambda found: f"{command} undo{found[1] or ''} --reason TEXT", text[:_MOST])
        text = _VERB.sub(lambda found: f"{command} {found[1]}{found[2] or ''}", text)
        text = _DESCRIBE.sub(lambda found: f"{command} explain {found[1]}", text)
        text = _LOGS.sub(
            lambda found: f"{compose} logs --since {found[2]} --tail {found[3]} {found[1]}", text
        )
        text = _STATUS.sub(lambda found: f"{compose} ps {found[1]}".rstrip(), text)
        text = _HISTORY.sub(f"{command} history", text)
        text = _OTHERS.sub("deploy it from your own file", text)
        for pattern, word in _COMPILED:
            text = pattern.sub(word, text)
        return text

    def message(self, message: Message) -> Message:
        """Reword a message."""
        moments = (Moment(each.time, self.text(each.text)) for each in message.timeline)
        return replace(
            message,
            subject=self.text(message.subject),
            status=self.text(message.status),
            after=self.text(message.after),
            reason=self.text(message.reason),
            counts=self.text(message.counts),
            impact=self.text(message.impact),
            checks=tuple(map(self.text, message.checks)),
            timeline=tuple(moments),
            next_steps=tuple(map(self.text, message.next_steps)),
            commands=tuple(dict.fromkeys(self._commands(message))),
            kind="service",
        )

    def _commands(self, message: Message) -> Iterator[str]:
        for each in message.commands:
            reworded = self.text(each)
            if "kubectl" not in reworded:
                yield reworded
