// The alerts of an SLO as a table: views of it, and of events about it, show them alike.

import { h } from "../dom.js";
import { count, decimal, percent, times } from "../format.js";
import { badge, table } from "../parts.js";

/** alertsTable shows the pairs of windows and the outage line. */
export function alertsTable(e) {
  const counted = (n) => (n ? `${count(n.bad)} of ${count(n.good + n.bad)}` : "–");
  return table(
    "Alerts",
    [["alert"], ["state"], ["fires at", "num"], ["long window", "num"], ["bad", "num"], ["short window", "num"], ["bad", "num"], ["evidence", "num"]],
    (e.alerts || []).map((a, i) => {
      const outage = a.severity === "outage";
      const row = [
        outage ? "outage line" : a.severity,
        badge(a.firing ? "breach" : "quiet"),
        outage ? percent(a.ratio) : times(a.factor),
        outage ? "–" : `${times(a.long_burn || 0)} in ${a.long}`,
        outage ? "–" : counted(a.long_count),
        outage ? `${percent(ratioOf(a.short_count))} in ${a.short}` : `${times(a.short_burn || 0)} in ${a.short}`,
        counted(a.short_count),
        outage ? `e^${decimal(a.log_evidence, 1)}` : a.probability ? `p ${a.probability.toExponential(0)}` : "–",
      ];
      row.key = `${a.severity}${i}`;
      row.cls = a.firing ? "firing" : null;
      return row;
    }),
  );
}

const ratioOf = (n) => (n && n.good + n.bad ? n.bad / (n.good + n.bad) : 0);
