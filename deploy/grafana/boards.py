#!/usr/bin/env python3
"""Makes the boards of Grafana, so that no number of them is written twice. Python's standard library is enough.

    python3 deploy/grafana/boards.py            writes boards/*.json
    python3 deploy/grafana/boards.py --check    says what differs, and ends with 1 when something does

A board is rows of panels, a panel a title, a unit and queries. Names and labels of series are those of docs/METRICS.md;
a test holds every one of them against what a node really answers.
"""

import copy
import json
import pathlib
import sys

BOARDS = pathlib.Path(__file__).resolve().parent / "boards"
WIDTH = 24  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${source}"}
NODE = 'job=~"$job",instance=~"$instance"'
TOPIC = ',topic=~"$topic"'
GROUP = ',group=~"$group"'
# Which samples a query means: the chosen nodes, and of these the chosen objects.
WHERE = {"{NODE}": NODE, "{TOPIC}": NODE + TOPIC, "{GROUP}": NODE + GROUP, "{BOTH}": NODE + TOPIC + GROUP}
# How the lines of a subscription are called.
WHO = "{{group}} in {{topic}}"
EACH = "{{instance}}"


def query(expr, legend=""):
    for mark, labels in WHERE.items():
        expr = expr.replace(mark, "{" + labels + "}")
    return expr, legend


def rate(series, by="", where="{NODE}"):
    group = f" by ({by}) " if by else ""
    return f"sum{group}(rate({series}{where}[$__rate_interval]))"


def quantile(share, series):
    return f"histogram_quantile({share}, sum by (le) (rate({series}_bucket{{NODE}}[$__rate_interval])))"


def top(expr):
    """So many objects are drawn that a chart can still be read."""
    return f"topk(10, {expr})"


def steps(limits):
    """Green; from the first limit on orange, from the second on red."""
    colours = ["green", "orange", "red"]
    found = [{"color": colours[0], "value": None}]
    for colour, value in zip(colours[1:], limits):
        found.append({"color": colour, "value": value})
    return {"mode": "absolute", "steps": found}


def panel(kind, title, unit, queries, help="", limits=(), width=8, height=7, **options):
    targets = []
    for letter, (expr, legend) in zip("ABCDEFGH", queries):
        target = {"refId": letter, "datasource": SOURCE, "expr": expr, "legendFormat": legend}
        if kind != "timeseries":
            target["instant"] = True
        if kind == "table":
            target["format"] = "table"
        targets.append(target)
    defaults = {"unit": unit, "thresholds": steps(limits), "noValue": "–"}
    if kind == "timeseries":
        # What is not known is a gap.
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        defaults["min"] = 0
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif kind == "stat":
        options = {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "type": kind,
        "title": title,
        "description": help,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def chart(title, unit, *queries, **more):
    return panel("timeseries", title, unit, queries, **more)


def number(title, unit, expr, **more):
    return panel("stat", title, unit, [expr], width=4, height=4, **more)


def table(title, unit, *queries, **more):
    made = panel("table", title, unit, queries, width=12, height=8, **more)
    hidden = {name: True for name in ["Time", "job", "instance"]}
    made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def variable(name, label, source, choose_all=True):
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": source, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": choose_all,
        "includeAll": choose_all,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def board(uid, title, rows, objects=False):
    variables = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        variable("job", "Job", "label_values(whimbrel_build_info, job)"),
        variable("instance", "Node", 'label_values(whimbrel_build_info{job=~"$job"}, instance)'),
    ]
    if objects:
        of = f"whimbrel_group_lag_messages{{{NODE}}}"
        variables.append(variable("topic", "Topic", f"label_values({of}, topic)"))
        variables.append(variable("group", "Group", f"label_values({of}, group)"))
    panels, down = [], 0
    for name, row in rows:
        panels.append({"type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": down, "w": WIDTH, "h": 1}})
        down, across, deepest = down + 1, 0, 0
        for one in copy.deepcopy(row):
            place = one["gridPos"]
            if across + place["w"] > WIDTH:
                down, across, deepest = down + deepest, 0, 0
            place.update(x=across, y=down)
            across, deepest = across + place["w"], max(deepest, place["h"])
            panels.append(one)
        down += deepest
    for number, one in enumerate(panels, 1):
        one["id"] = number
    return {
        "uid": uid,
        "title": title,
        "tags": ["whimbrel"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "links": [{
            "type": "dashboards",
            "tags": ["whimbrel"],
            "title": "Whimbrel",
            "asDropdown": True,
            "keepTime": True,
            "includeVars": True,
        }],
        "templating": {"list": variables},
        "panels": panels,
    }


# What several boards show.
IN_AND_OUT = chart(
    "Messages a second", "ops",
    query(rate("whimbrel_produced_messages_total"), "in"),
    query(rate("whimbrel_delivered_messages_total"), "out"),
    query(rate("whimbrel_acked_messages_total"), "acked"),
    help="Out above in for long is work done again: look at failures.")
LATENCIES = chart(
    "Latency, 99 of 100", "s",
    query(quantile(0.99, "whimbrel_produce_duration_seconds"), "produce"),
    query(quantile(0.99, "whimbrel_end_to_end_duration_seconds"), "ready to handed out"),
    query(quantile(0.99, "whimbrel_fsync_duration_seconds"), "flush"),
    help="Produce follows the flush; ready to handed out follows the lag.")


def overview():
    return board("whimbrel-overview", "Whimbrel / Overview", [
        ("Now", [
            number("Nodes that serve", "none", query("sum(whimbrel_serving{NODE})"),
                   help="A node that does not serve says why at /readyz?verbose."),
            number("Lag", "short", query("sum(whimbrel_group_lag_messages{NODE})"),
                   help="Messages not settled, all groups together."),
            number("Oldest unsettled", "s", query("max(whimbrel_group_lag_seconds{NODE})"), limits=[60, 300],
                   help="Age of the oldest message of the lag, of the worst group."),
            number("Dead letters", "short", query("sum(whimbrel_group_dead_letters{NODE})"), limits=[1, 1000],
                   help="They stay until they are redriven or purged: whimbrel dlq list GROUP."),
            number("Disk left", "bytes", query("min(whimbrel_disk_free_bytes{NODE})"),
                   help="Producers are refused before it ends."),
            number("Refuses producers", "none", query("sum(whimbrel_disk_refuses_producers{NODE})"), limits=[1, 1],
                   help="Above 0 producers get 507: free some space."),
        ]),
        ("Traffic", [
            IN_AND_OUT,
            chart("Bytes a second", "Bps",
                  query(rate("whimbrel_produced_bytes_total"), "in"),
                  query(rate("whimbrel_delivered_bytes_total"), "out")),
            LATENCIES,
        ]),
        ("Trouble", [
            chart("Failed deliveries a second", "ops",
                  query(rate("whimbrel_failed_deliveries_total", "cause"), "{{cause}}"),
                  help="lease_expired: leases are too short, or consumers die."),
            chart("Dead letters a second", "ops",
                  query(rate("whimbrel_dead_lettered_messages_total", "reason"), "{{reason}}")),
            chart("Oldest unsettled, worst groups", "s",
                  query(top("max by (topic, group) (whimbrel_group_lag_seconds{NODE})"), "{{group}} in {{topic}}"),
                  help="The best single sign that a group does not keep up, or that one message is stuck."),
        ]),
    ])


def objects():
    by = "topic, group"
    failed = rate("whimbrel_failed_deliveries_total", by, "{BOTH}")
    delivered = rate("whimbrel_delivered_messages_total", by, "{BOTH}")
    return board("whimbrel-objects", "Whimbrel / Topics and groups", [
        ("Groups", [
            chart("Lag", "short", query(top(f"sum by ({by}) (whimbrel_group_lag_messages{{BOTH}})"), WHO)),
            chart("Oldest unsettled", "s", query(top(f"max by ({by}) (whimbrel_group_lag_seconds{{BOTH}})"), WHO)),
            chart("In flight", "short", query(top(f"sum by ({by}) (whimbrel_group_in_flight_messages{{BOTH}})"), WHO),
                  help="At max_in_flight of the group nothing more is handed out."),
            chart("Acked a second", "ops", query(top(rate("whimbrel_acked_messages_total", by, "{BOTH}")), WHO)),
            chart("Share of deliveries that fail", "percentunit", query(top(f"{failed} / ({delivered} > 0)"), WHO),
                  limits=[0.05, 0.1]),
            chart("Ready, and nobody holds it", "short",
                  query(top(f"sum by ({by}) (whimbrel_group_ready_messages{{BOTH}})"), WHO),
                  help="Above 0 while nothing is in flight: no consumer asks, or the group is paused."),
            table("Wait for their next attempt", "short",
                  query(f"sum by ({by}) (whimbrel_group_retrying_messages{{BOTH}} > 0)")),
            table("Oldest message that a consumer holds", "s",
                  query(f"max by ({by}) (whimbrel_group_oldest_in_flight_seconds{{BOTH}} > 0)"), limits=[600, 3600],
                  help="A consumer that hangs, or extends its lease again and again."),
            chart("Dead letters held", "short",
                  query(top("sum by (group) (whimbrel_group_dead_letters{GROUP})"), "{{group}}")),
            chart("Consumers", "none", query(top("sum by (group) (whimbrel_group_consumers{GROUP})"), "{{group}}")),
            chart("Redriven a second", "ops",
                  query(top(rate("whimbrel_redriven_messages_total", "group", "{GROUP}")), "{{group}}")),
        ]),
        ("Topics", [
            chart("Produced a second", "ops",
                  query(top(rate("whimbrel_produced_messages_total", "topic", "{TOPIC}")), "{{topic}}")),
            chart("Bytes a second", "Bps",
                  query(top(rate("whimbrel_produced_bytes_total", "topic", "{TOPIC}")), "{{topic}}")),
            chart("Scheduled", "short",
                  query(top("sum by (topic) (whimbrel_scheduled_messages{TOPIC})"), "{{topic}}"),
                  help="Accepted messages that wait for their time."),
            chart("Kept", "short", query(top("sum by (topic) (whimbrel_kept_messages{TOPIC})"), "{{topic}}"),
                  help="What can still be read, settled or not: this is what the disk holds."),
        ]),
    ], objects=True)


def node():
    last = "whimbrel_raft_last_index{NODE}"
    return board("whimbrel-node", "Whimbrel / Node and storage", [
        ("Disk", [
            chart("Flush of the log", "s",
                  query(quantile(0.5, "whimbrel_fsync_duration_seconds"), "half"),
                  query(quantile(0.99, "whimbrel_fsync_duration_seconds"), "99 of 100"),
                  help="Everything durable waits for it; above 0.1 s the disk is the limit."),
            chart("Flushes a second", "ops", query(rate("whimbrel_fsync_duration_seconds_count"), "flushes")),
            chart("Facts in an entry", "short",
                  query(rate("whimbrel_batch_facts_sum") + " / " + rate("whimbrel_batch_facts_count"), "mean"),
                  help="Grows with load: that is how one disk serves many."),
            chart("Log", "bytes", query("sum by (instance) (whimbrel_log_bytes{NODE})", EACH)),
            chart("Disk", "bytes",
                  query("sum by (instance) (whimbrel_disk_free_bytes{NODE})", "{{instance}} free"),
                  query("sum by (instance) (whimbrel_disk_total_bytes{NODE})", "{{instance}} all")),
            chart("Index behind", "short", query("sum by (instance) (whimbrel_index_backlog_entries{NODE})", EACH),
                  help="Entries that are not in the queue index yet; for long after a start: it is being made again."),
        ]),
        ("Work", [
            LATENCIES,
            chart("Requests that wait", "short", query("sum by (instance) (whimbrel_requests_waiting{NODE})", EACH),
                  help="To be decided or written; at 65,536 they are refused with 503."),
            chart("Held in memory", "short",
                  query("sum by (instance) (whimbrel_held_messages{NODE})", EACH),
                  query("max(whimbrel_held_messages_max{NODE})", "the bound")),
            chart("Schedules are late", "s",
                  query(quantile(0.99, "whimbrel_schedule_lateness_seconds"), "99 of 100"),
                  query("max(whimbrel_schedule_overdue_seconds{NODE})", "first one that is due")),
            chart("Connections", "none",
                  query("sum(whimbrel_connections{NODE})", "HTTP"),
                  query("sum(whimbrel_sockets{NODE})", "WebSockets"),
                  query("sum(whimbrel_waiters{NODE})", "receives and subscriptions")),
            chart("Connections refused a second", "ops", query(rate("whimbrel_connections_refused_total"), "refused"),
                  query(rate("whimbrel_connections_accepted_total"), "accepted")),
        ]),
        ("Agreement", [
            chart("Leads", "none", query("sum by (instance) (whimbrel_raft_leader{NODE})", EACH)),
            chart("Term", "none", query("max by (instance) (whimbrel_raft_term{NODE})", EACH)),
            chart("Entries not applied", "short",
                  query(f"max by (instance) ({last} - whimbrel_raft_applied_index{{NODE}})", EACH)),
        ]),
        ("Process", [
            chart("CPU", "none", query(rate("process_cpu_seconds_total", "instance"), EACH),
                  help="Cores in use."),
            chart("Memory", "bytes", query("sum by (instance) (process_resident_memory_bytes{NODE})", EACH)),
            chart("File descriptors", "none",
                  query("sum by (instance) (process_open_fds{NODE})", "{{instance}} open"),
                  query("min(process_max_fds{NODE})", "most")),
        ]),
    ])


def main():
    made = {"overview": overview(), "topics-and-groups": objects(), "node-and-storage": node()}
    texts = {f"{name}.json": json.dumps(one, indent=2, ensure_ascii=False) + "\n" for name, one in made.items()}
    if sys.argv[1:] == ["--check"]:
        there = {path.name: path.read_text(encoding="utf-8") for path in BOARDS.glob("*.json")}
        wrong = sorted(name for name in texts.keys() | there.keys() if texts.get(name) != there.get(name))
        for name in wrong:
            print(f"{name} is not what boards.py makes; run python3 deploy/grafana/boards.py")
        sys.exit(1 if wrong else 0)
    if sys.argv[1:]:
        sys.exit(__doc__)
    BOARDS.mkdir(exist_ok=True)
    for name, text in texts.items():
        (BOARDS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
