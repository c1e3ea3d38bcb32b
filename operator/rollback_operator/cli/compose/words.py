"""Messages of the pass in the words of Compose, with commands that work there.

The pure rooms word a message for Kubernetes. Here the few terms that differ are replaced where the
text leaves the agent, so that no rule has to know two platforms.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

from rollback_operator.model.message import Message, Moment

_CLIENT = "kubectl"
_IN = r" -n [\w.-]*"
_UNDO = re.compile(
    rf"{_CLIENT} rollback undo [\w.-]+{_IN}( --to \S+)?( --dry-run)?( --reason TEXT)?"
)
_VERB = re.compile(rf"{_CLIENT} rollback (approve|reject|explain|status)( [\w.-]+)?{_IN}")
_DESCRIBE = re.compile(rf"{_CLIENT} describe \w+ ([\w.-]+){_IN}")
_LOGS = re.compile(rf"{_CLIENT} logs deployment/([\w.-]+){_IN} --since=(\w+) --tail=(\d+)")
_STATUS = re.compile(rf"{_CLIENT} (?:rollout status|get) deployments?/?([\w.-]*){_IN}")
_HISTORY = re.compile(rf"{_CLIENT} rollout history deployment/[\w.-]+{_IN}")
_OTHERS = re.compile(rf"{_CLIENT} r(ollback (trust|resume|suspend)|ollout (undo|resume))[^,;]*")
_TERMS = {
    "[Tt]he Deployment controller": "Compose",
    "pod templates?": "settings",
    "Deployments": "services",
    "Deployment": "service",
    "ReplicaSets": "records",
    "ReplicaSet": "record",
    "replicas": "containers",
    "replica": "container",
    "Pods": "Containers",
    "pods": "containers",
    "pod": "container",
    "the operator": "the agent",
    "The operator": "The agent",
    "Kubernetes status": "state in Docker",
    "1 of 1 nodes": "this machine",
    "0 of 1 nodes": "no machine",
    "in this cluster": "of this agent",
    "in this namespace": "in the Compose file",
    "namespace": "project",
}
"""Not where a letter, dot, hyphen or slash joins them to a name: fields, services, paths."""
_COMPILED = tuple(
    (re.compile(rf"(?<![\w./-])(?:{term})(?![\w./-]\w|\w)"), word) for term, word in _TERMS.items()
)
_LABELS = re.compile(r"(\{[^{}]*\}|\b(?:by|on|without) ?\([^()]*\))")
"""Where PromQL names labels: a query has to work as printed."""
_MOST = 64 * 1024


class ComposeWords:
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
        text = _UNDO.sub(
            lambda match: f"{command} undo{match[1] or ''} --reason TEXT", text[:_MOST]
        )
        text = _VERB.sub(lambda match: f"{command} {match[1]}{match[2] or ''}", text)
        text = _DESCRIBE.sub(lambda match: f"{command} explain {match[1]}", text)
        text = _LOGS.sub(
            lambda match: f"{compose} logs --since {match[2]} --tail {match[3]} {match[1]}", text
        )
        text = _STATUS.sub(lambda match: f"{compose} ps {match[1]}".rstrip(), text)
        text = _HISTORY.sub(lambda _: f"{command} history", text)
        text = _OTHERS.sub("deploy it from your own file", text)
        parts = _LABELS.split(text)
        parts[::2] = map(_in_terms, parts[::2])
        return "".join(parts)

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


def _in_terms(text: str) -> str:
    for pattern, word in _COMPILED:
        text = pattern.sub(word, text)
    return text


class WordedLog(logging.Formatter):
    """Lines of the log, in the words of Compose."""

    def __init__(self, words: ComposeWords) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._words = words

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Reword a line."""
        return self._words.text(super().formatMessage(record))
