package api

import "github.com/gatewarden/gatewarden"

// Plan says before a rollout how long its run will take, in the median, at the traffic of
// the last minutes: an order of magnitude to choose steps and deadlines by.
type Plan struct {
	Rate     float64             `json:"rate"`   // requests a second, both tracks together; 0: no traffic, so nothing can be said
	Share    float64             `json:"share"`  // of the canary, in (0, 1)
	Errors   float64             `json:"errors"` // ratio of requests that fail now
	Spread   float64             `json:"spread"` // standard deviation of the logarithm of the latency
	Deadline gatewarden.Duration `json:"deadline"`
	ToPass   gatewarden.Duration `json:"to_pass,omitempty"` // for a canary that is like the baseline
	Rows     []PlanRow           `json:"rows,omitempty"`
}

// PlanRow is how long it takes to find that a canary is worse by so much.
type PlanRow struct {
	What   string              `json:"what"` // "errors ×2"
	Ratio  float64             `json:"ratio"`
	Time   gatewarden.Duration `json:"time"`
	InTime bool                `json:"in_time"` // before the deadline
}
