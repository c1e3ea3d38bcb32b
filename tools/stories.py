"""Write docs/stories.md: what kubectl shows an on-call person at each moment, on a real node.

    python -m tools.stories [--only TEXT]

Makes a node with the operator and plays each story in a namespace of its own, some at a time. What
stands on the page is what the commands printed; only of `describe` parts are left out.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import images, session  # noqa: E402 (path first)
from lab.binaries import say  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.node import Node  # noqa: E402
from lab.session import Session  # noqa: E402
from lab.tickets import OPERATOR, install_operator, wait_for  # noqa: E402
from tests.e2e.shop import Shop  # noqa: E402

PAGE = ROOT / "docs" / "stories.md"
AT_ONCE = 3
LIMIT_SECONDS = 120
MINUTE_SECONDS = 75.0
LONG_SECONDS = 300
BROKEN = "this story ended early"
GET = ("get", "rollbackpolicies")
STATUS = ("rollback", "status")
DESCRIBE = ("describe", "deployment", "ticket-service")
HISTORY = ("rollout", "history", "deployment/ticket-service")
EVENTS = ("get", "events", "--sort-by=.lastTimestamp", f"--field-selector=source={OPERATOR}")
UNDO = ("rollback", "undo", "tickets", "--to", "last-known-good", "--reason")
MAY_BE_DECIDED = {"safety": {"requireVerified": True}, "approval": {"timeoutSeconds": 600}}
HEAD = """# Stories

What `get`, `status`, `describe` and the Events show at each moment of a release, on ordinary days
and during incidents. `python -m tools.stories` runs each story on a real node, with the
[demo](demo.md)'s ticket service in a namespace of its own, and writes this page. The text is what
the commands printed, without their `-n NAMESPACE`; `describe` is reduced to name, annotations,
replicas, conditions and Events. [troubleshooting.md](troubleshooting.md) explains each word.
"""


@dataclass
class Page:
    """One story as it is told."""

    lab: Session
    shop: Shop
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell what happens now."""
        self.lines += ["", text]

    def run(self, *arguments: str) -> None:
        """Call kubectl in the shop's namespace, and show call and answer."""
        self.lines += self._called(arguments)

    def _called(self, arguments: tuple[str, ...]) -> list[str]:
        argv, environment = session.command_in(
            self.lab, ["kubectl", *arguments, f"--namespace={self.shop.namespace}"]
        )
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
        said = (done.stdout + done.stderr).rstrip("\n").split("\n")
        if arguments == DESCRIBE:
            said = list(_of_description(said))
        status = [f"# exit status {done.returncode}"] if done.returncode else []
        shown = " ".join(f"'{one}'" if " " in one else one for one in arguments)
        answer = [*map(str.rstrip, said), *status]
        return ["", "```console", f"$ kubectl {shown}", *answer, "```"]

    def look(self) -> None:
        """Look as a person does who was called, at one moment."""
        with ThreadPoolExecutor() as pool:
            for lines in pool.map(self._called, (GET, STATUS)):
                self.lines += lines

    def look_closely(self) -> None:
        """Look at what was done to the Deployment, too."""
        self.look()
        self.run(*DESCRIBE)


def _of_description(lines: Sequence[str]) -> Iterator[str]:
    """Choose annotations, replicas and Events: the pod template is not what has happened."""
    part = ""
    for line in lines:
        if line and not line[0].isspace():
            part = line.split(":")[0]
        if part in ("Name", "Annotations", "Replicas", "Conditions", "Events"):
            yield line


def serves_a_minute(shop: Shop, **policy: Any) -> None:
    """Have v1.2.3 serve for as long as a person would, not with a past that is made."""
    shop.opens("v1.2.3", **policy)
    shop.has_served(MINUTE_SECONDS)


def ordinary(page: Page) -> None:
    """A first policy, and a good release"""
    shop = page.shop
    page.say("v1.2.3 runs, and a policy of the least kind was applied a minute ago:")
    serves_a_minute(shop, safety={"goodAfterSeconds": 60})
    page.look()
    page.say("v1.4.0 is released, and nothing is wrong with it. While it is watched:")
    shop.releases("v1.4.0")
    shop.has_rolled_out()
    page.look()
    wait_for("v1.4.0 to be good", LONG_SECONDS, lambda: shop.verdict() == "Healthy")
    page.say("Once it has earned it:")
    page.look()
    page.run(*EVENTS)


def second_deployment(page: Page) -> None:
    """A second Deployment in the namespace"""
    shop = page.shop
    shop.opens("v1.2.3")
    shop.service.kubectl("create", "deployment", "cart", "--image=localhost/ticket-service:v1.2.3")
    page.say("A policy for another Deployment, `cart`, which crashes and exports no metrics:")
    shop.service.apply_policy({"targetRef": {"name": "cart"}}, "cart")
    wait_for("its status", LONG_SECONDS, lambda: shop.service.policy("cart").get("status"))
    time.sleep(20)
    page.look()


def fifth(page: Page) -> None:
    """A release that fails a fifth of what customers buy"""
    shop = page.shop
    serves_a_minute(shop)
    page.say("v1.3.1 is released. At the moment of the decision:")
    shop.releases("v1.3.1")
    shop.has_a_rollback()
    page.look()
    shop.is_over()
    page.say("When it is over:")
    page.look_closely()
    page.run(*EVENTS)
    page.run(*HISTORY)
    page.run("rollback", "explain")


def slow_then_dead(page: Page) -> None:
    """A slow release, then a dead one"""
    shop = page.shop
    serves_a_minute(shop)
    page.say("v1.3.2 is slower by a quarter: nothing that is taken back on its own.")
    shop.releases("v1.3.2")
    shop.has_rolled_out()
    time.sleep(60)
    page.look()
    page.say("v1.3.0 fails every purchase. When that is over:")
    shop.releases("v1.3.0")
    shop.is_over()
    page.look_closely()


def missing_image(page: Page) -> None:
    """A release whose image is not there"""
    shop = page.shop
    serves_a_minute(shop)
    page.say(
        "v9.9.9 was never pushed. Its registry does not answer, which is not the release's fault:"
    )
    shop.releases("v9.9.9")
    _reads(shop, "NoVerdict")
    page.look()
    page.run(*EVENTS)
    page.run("rollback", "explain", "policy/tickets")
    page.say("A person goes back:")
    page.run(*UNDO, "wrong tag")
    shop.is_over()
    page.look_closely()


def typo(page: Page) -> None:
    """A typing error in the target"""
    shop = page.shop
    shop.service.deploy("v1.2.3")
    page.say("A policy names `ticket-servcie`:")
    shop.service.apply_policy({"targetRef": {"name": "ticket-servcie"}})
    shop.tells("PolicyNotReady")
    page.look()
    page.run(*EVENTS)


def paused(page: Page) -> None:
    """Somebody has paused the Deployment"""
    shop = page.shop
    serves_a_minute(shop)
    page.say("`kubectl rollout pause`, then a release that waits for `resume`:")
    shop.service.kubectl("rollout", "pause", "deployment/ticket-service")
    shop.releases("v1.3.0")
    _reads(shop, "Paused")
    page.look()
    page.say("`kubectl rollout resume`: it goes out, fails and is taken back.")
    shop.service.kubectl("rollout", "resume", "deployment/ticket-service")
    shop.is_over()
    page.look()


def scaled_to_zero(page: Page) -> None:
    """Scaled to zero"""
    shop = page.shop
    serves_a_minute(shop)
    page.say("The team turns the service off for the night:")
    shop.service.scale(0)
    _reads(shop, "ScaledToZero")
    page.look()
    page.say("And on again:")
    shop.service.scale(2)
    shop.has_rolled_out()
    time.sleep(15)
    page.look()


def policy_deleted(page: Page) -> None:
    """The policy is deleted while a release is taken back"""
    shop = page.shop
    serves_a_minute(shop, verification={"timeoutSeconds": 60})
    shop.releases("v1.3.0")
    shop.begins_to_go_back()
    page.say("v1.3.0 is being taken back; the undo is done and not verified yet:")
    page.look()
    page.say("`kubectl delete rollbackpolicy tickets`. When all is over:")
    shop.service.kubectl("delete", "rollbackpolicy", "tickets")
    shop.customers_return()
    shop.is_over()
    page.look()
    page.run("rollback", "history")
    page.run(*EVENTS)


def approved(page: Page) -> None:
    """A person is asked, and approves"""
    _asked(page)
    page.run("rollback", "approve", _newest(page.shop), "--reason", "customers call")
    page.shop.is_over()
    page.say("When it is over:")
    page.look_closely()


def rejected(page: Page) -> None:
    """A person is asked, and rejects"""
    _asked(page)
    page.run("rollback", "reject", _newest(page.shop), "--reason", "we fix forward")
    page.shop.is_over()
    page.say("When it is over, and v1.3.0 still runs:")
    page.look()
    page.run(*EVENTS)


def unprotected(page: Page) -> None:
    """A person is asked where the chart's admission is off"""
    page.say("Installed with `admission.create: false`: nobody's approval counts.")
    _asked(page)
    page.run("rollback", "approve", _newest(page.shop), "--reason", "customers call")
    page.run(*UNDO, "customers call")
    page.say("The way out that they name:")
    page.run("rollout", "undo", "deployment/ticket-service", "--to-revision=1")
    page.shop.is_over()
    page.look()


def _asked(page: Page) -> None:
    shop = page.shop
    serves_a_minute(shop, **MAY_BE_DECIDED)
    page.say("The policy demands a verified target, and v1.2.3 has not run for long. v1.3.0 fails:")
    shop.releases("v1.3.0")
    shop.awaits_approval()
    page.look()


def _reads(shop: Shop, word: str) -> None:
    look = shop.service.policy
    wait_for(word, LONG_SECONDS, lambda: look().get("status", {}).get("summary") == word)


def _newest(shop: Shop) -> str:
    return str(shop.service.rollbacks()[-1]["metadata"]["name"])


Story = Callable[[Page], None]
PROTECTED: tuple[Story, ...] = (
    *(ordinary, second_deployment, fifth, slow_then_dead, missing_image, typo, paused),
    *(scaled_to_zero, policy_deleted, approved, rejected),
)
UNPROTECTED: tuple[Story, ...] = (unprotected,)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.stories", description=__doc__)
    parser.add_argument("--only", help="print the stories whose name holds this, write no page")
    options = parser.parse_args(arguments)
    told: list[str] = []
    with _node() as (lab, archive), tempfile.TemporaryDirectory(prefix="stories-") as folder:
        for stories, values in ((PROTECTED, {}), (UNPROTECTED, {"admission": {"create": False}})):
            chosen = [one for one in stories if (options.only or "") in one.__name__]
            if not chosen:
                continue
            if values:
                _remove_admission(lab)
            install_operator(lab, archive, {"log": {"format": "text"}, **values})
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for one in pool.map(lambda one: _tell(lab, Path(folder), one), chosen):
                    print(one, flush=True)
                    told.append(one)
    text = "\n".join([HEAD.rstrip(), *told]).rstrip() + "\n"
    if options.only is None and BROKEN not in text:
        PAGE.write_text(text)
    return int(BROKEN in text)


@contextmanager
def _node() -> Iterator[tuple[Session, Path]]:
    archives = {name: images.build(name) for name in ("ticket-service", "rollback-operator")}
    with Node() as node:
        node.session.import_image(archives["ticket-service"])
        yield node.session, archives["rollback-operator"]


def _remove_admission(lab: Session) -> None:
    """Take away what the installation before has put in front of approvals."""
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        lab.kubectl("delete", kind, "--all")


def _tell(lab: Session, folder: Path, story: Story) -> str:
    name = story.__name__.replace("_", "-")
    shop = Shop(lab, name, folder, replicas=2)
    page = Page(lab, shop)
    say(f"{name} ...")
    try:
        story(page)
    except (LabError, AssertionError) as error:
        page.say(f"{BROKEN}: {error}\n{shop.account()}")
    finally:
        shop.close()
    say(f"{name} is told")
    return "\n".join(["", f"## {_title(story)}", *page.lines])


def _title(story: Story) -> str:
    return re.sub(r"\s+", " ", story.__doc__ or story.__name__).strip()


if __name__ == "__main__":
    sys.exit(main())
