# Tells Bramble what a run does: one JSON object on a line for each event, into the pipe that Bramble has opened.
#
# Chosen by Bramble alone, with ANSIBLE_STDOUT_CALLBACK and BRAMBLE_PROGRESS_FD: `bramble configure` shows what comes.
# What a task with no_log did is hidden by Ansible before it gets here; here the message is left out too.
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = """
    name: progress
    type: stdout
    short_description: events of a run as lines of JSON, for bramble configure
    description:
      - Writes to the file descriptor that E(BRAMBLE_PROGRESS_FD) names, and nothing to standard output.
    requirements:
      - Bramble, which reads the events
"""

import json
import os
import signal

from ansible.plugins.callback import CallbackBase

# As many characters of a task's message as anybody reads.
MESSAGE_MAX = 2000


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "bramble.cluster.progress"

    def __init__(self, *arguments, **settings):
        super(CallbackModule, self).__init__(*arguments, **settings)
        self._descriptor = int(os.environ.get("BRAMBLE_PROGRESS_FD", "1"))
        self._failed_item = {}

    def v2_playbook_on_play_start(self, play):
        self._tell("play", name=play.get_name().strip())

    def v2_playbook_on_no_hosts_matched(self):
        self._tell("no-nodes")

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._tell_task(task)

    def v2_playbook_on_handler_task_start(self, task):
        self._tell_task(task)

    def v2_runner_on_ok(self, result):
        self._tell_result("changed" if _content(result).get("changed", False) else "ok", result)

    def v2_runner_on_skipped(self, result):
        self._tell_result("skipped", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._tell_result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result):
        self._tell_result("unreachable", result)

    def v2_runner_item_on_failed(self, result):
        # Of a loop the last word is only "One or more items failed".
        self._failed_item.setdefault((_host(result), _task(result)._uuid), _message(_content(result)))

    def v2_playbook_on_stats(self, stats):
        nodes = dict((node, stats.summarize(node)) for node in sorted(stats.processed))
        self._tell("end", nodes=nodes)

    def _tell_task(self, task):
        role = getattr(task, "_role", None)
        self._tell("task", name=_name(task), role=role.get_name() if role else None)

    def _tell_result(self, state, result):
        message = None
        if state in ("failed", "ignored", "unreachable"):
            content = _content(result)
            task = _task(result)
            if content.get("_ansible_no_log", False) or "censored" in content or task.no_log:
                message = "what it said is hidden (no_log)"
            else:
                message = self._failed_item.pop((_host(result), task._uuid), None) or _message(content)
        self._tell("result", node=_host(result), state=state, task=_name(_task(result)), message=message)

    def _tell(self, event, **fields):
        line = json.dumps(dict(fields, event=event)) + "\n"
        try:
            data = line.encode("utf-8")
            while data:
                data = data[os.write(self._descriptor, data):]
        except OSError:
            # Bramble is gone: nobody reads the outcome, and a new manager begins anew.
            os.kill(os.getpid(), signal.SIGTERM)


def _host(result):
    host = getattr(result, "host", None) or result._host
    return host.get_name()


def _task(result):
    return getattr(result, "task", None) or result._task


def _content(result):
    content = getattr(result, "result", None)
    return content if content is not None else result._result


def _name(task):
    # Without the role's name before it, which get_name() puts there.
    return (task.name or task.action or "").strip()


def _message(content):
    # Facts are gathered by several modules; what each said is below.
    for failed in (content.get("failed_modules") or {}).values():
        return _message(failed)
    said = [str(content.get(key) or "").strip() for key in ("msg", "module_stderr", "stderr", "module_stdout", "stdout", "reason")]
    # "MODULE FAILURE" says nothing; what the module wrote does.
    parts = [text for index, text in enumerate(said) if text and text not in said[:index]]
    text = "\n".join(parts[:2]) or "failed without a message"
    return text if len(text) <= MESSAGE_MAX else text[: MESSAGE_MAX - 1] + u"\u2026"
