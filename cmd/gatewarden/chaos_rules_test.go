package main

import (
	"fmt"
	"strings"
)

const chaosRules = `
slos:
  - name: orders-availability
    service: $orders
    objective: 99.9
    window: 1h
    sli: {availability: {}}
    on_outage: [protect]
    on_page: [roll-back]
%s
actions:
  - name: protect
    %s
    steps:
      %s
      - plugin: {name: request-termination, service: $recommendations, config: {status_code: 503, message: "back soon"}}
      - plugin: {name: rate-limiting, route: $orders-route, config: {second: 50, policy: local, limit_by: service}}
      - adaptive: {slo: orders-availability, service: $orders, floor: 20, ceiling: 500, settle: 2s}
      - divert: {route: $queue-route, to: $search}
        after: 1s
      - service: {name: $search, enabled: false}
        after: 2s
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
        after: 3s
    lease: 8s
    revert: {after: 1s, stepwise: true}
  - name: roll-back
    mode: enforce
    steps:
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
      %s
    lease: 8s
    revert: {after: 1s}
`

// What the answers to the breach do with weights.
const (
	chaosDrain  = `- drain: {upstream: $orders, target_tag: "version:v2"}`
	chaosWeight = `- weight: {upstream: $orders, target_tag: "version:v2", weight: 5}`
)

// chaosCanary is said in addition when orders v2 is a canary.
const chaosCanary = `
canaries:
  - name: orders
    service: $orders
    baseline: {target_tag: "version:v1"}
    canary: {target_tag: "version:v2"}
    checks: [{errors: {pass_difference: 10%%}}]
    false_alarm: 20%%
    warm_up: 0s
    min_duration: 2s
    deadline: 18s
    steps: [20, 50]
    mode: %s
    on_fail: [drain-and-roll-back]
`

const chaosRollBack = `
  - name: drain-and-roll-back
    %s
    steps:
      - drain: {canary: orders}
      - plugin: {name: request-size-limiting, service: $orders, config: {allowed_payload_size: 8}}
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders}, wait: 1m}
    lease: 8s
    revert: {after: 1s}
`

// rules returns the rules of a plan.
func (r *chaosRun) rules() string {
	mode, canary, rollBack, drain, weight := "mode: enforce", "", "", chaosDrain, chaosWeight
	if r.plan.Apart {
		drain, weight = "", ""
	}
	if r.plan.Approve {
		mode = "mode: approve\n    approval: {expires: 4s}"
	}
	if r.plan.Moves {
		byHand := map[bool]string{true: "approve", false: "enforce"}
		canary, rollBack = fmt.Sprintf(chaosCanary, byHand[r.plan.ByHand]), fmt.Sprintf(chaosRollBack, mode)
	}
	return strings.ReplaceAll(fmt.Sprintf(chaosRules, canary, mode, drain, weight)+rollBack, "$", r.gateway.Name(""))
}

const chaosConfig = `
listen: {api: "127.0.0.1:0", ingest: "127.0.0.1:0"}
state: {dir: data}
rules: [rules.yaml]
sources:
  - httplog: {path: /ingest/kong}
blind_after: 5s
kong: {admin_url: "%s", dbless: %v}
jenkins: {url: "%s", user: %s, token_file: jenkins-token}
log: {level: info, format: json}
`
