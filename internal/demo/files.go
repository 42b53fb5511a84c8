package demo

import (
	"fmt"
	"os"
	"path/filepath"
)

// shedStatus is what the gateway answers for a service that the guard has shed.
const shedStatus = 503

// job is the rollback job of the demo's Jenkins, token and user who may run it.
const (
	job          = "shop/orders-rollback"
	jenkinsUser  = "gatewarden"
	jenkinsToken = "11d0e5a1c5e2f4b6a8c0e2d4f6a8b0c2e4"
)

// writeFiles writes the guard's configuration and rules into dir, as an operator
// would, and returns the configuration's path.
func writeFiles(dir, api, ingest, kongAdmin, jenkins string) (string, error) {
	config := filepath.Join(dir, "gatewarden.yaml")
	for path, text := range map[string]string{
		config:                                   fmt.Sprintf(configText, api, ingest, kongAdmin, jenkins, jenkinsUser),
		filepath.Join(dir, "jenkins-token"):      jenkinsToken + "\n",
		filepath.Join(dir, "rules", "shop.yaml"): rulesText,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return config, nil
}

const configText = `# Written by gatewarden demo: the guard's configuration.
listen: {api: "%s", ingest: "%s"}
state: {dir: data}
rules: [rules/]
sources:
  - httplog: {path: /ingest/kong}
kong: {admin_url: "%s"}
jenkins: {url: "%s", user: %s, token_file: jenkins-token}
log: {level: warn}
`

// The rules of the demo are the shop's with everything that takes hours or minutes
// made short, so that the story fits into a minute. examples/shop/rules has the ones
// for real life.
const rulesText = `# Written by gatewarden demo: what is protected, and how.
slos:
  - name: orders-availability
    description: Customers can order.
    service: orders
    objective: 99.9
    window: 6h                       # 30d in real life; the alerts' windows scale with it
    sli: {availability: {}}
    on_outage: [protect-orders]      # seconds after something broke: steps that can be undone
    on_page: [roll-back-orders]      # the budget burns: a step that cannot
  - name: payments-availability
    service: payments
    objective: 99.9
    window: 6h
    sli: {availability: {}}
  - name: recommendations-availability
    service: recommendations
    objective: 99
    window: 6h
    sli: {availability: {}}

actions:
  - name: protect-orders
    mode: enforce
    steps:
      - drain: {upstream: orders, target_tag: "version:v2"}
      - plugin: {name: request-termination, service: recommendations, config: {status_code: 503, message: "back in a minute"}}
    lease: 2m
    revert: {after: 8s, stepwise: true}
  - name: roll-back-orders
    mode: enforce
    steps:
      - jenkins: {job: shop/orders-rollback, parameters: {SERVICE: orders, TO: v1}, wait: 1m}
`
