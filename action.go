package gatewarden

import (
	"encoding/json"
	"time"
)

// Mode says how far the guard may go with a policy.
type Mode string

// The modes.
const (
	ModeObserve Mode = "observe" // record what would have been done
	ModeApprove Mode = "approve" // wait for a person
	ModeEnforce Mode = "enforce" // act
)

// StepKind names what a step does; an executor is registered for each.
type StepKind string

// The kinds of steps.
const (
	StepPlugin  StepKind = "plugin"  // put a Kong plugin in place
	StepWeight  StepKind = "weight"  // set the weight of upstream targets
	StepDrain   StepKind = "drain"   // set it to 0
	StepShare   StepKind = "share"   // divide an upstream's requests between two tracks
	StepJenkins StepKind = "jenkins" // run a Jenkins job
	StepWebhook StepKind = "webhook" // call anything else
	StepDivert  StepKind = "divert"  // lead a route to another service
	StepService StepKind = "service" // enable or disable a service
	StepSlack   StepKind = "slack"   // tell people in a channel

	StepAlertmanager StepKind = "alertmanager" // an alert that is resolved when the step is taken back
	StepAdaptive     StepKind = "adaptive"     // a limit on requests that an SLO steers while it is in place
)

// Reversible reports whether the guard can take a step of this kind back.
func (k StepKind) Reversible() bool {
	return k == StepPlugin || k.Weighs() || k == StepDivert || k == StepService || k == StepAlertmanager || k == StepAdaptive
}

// Weighs reports whether a step of this kind sets weights of targets.
func (k StepKind) Weighs() bool { return k == StepWeight || k == StepDrain || k == StepShare }

// Tells reports whether a step of this kind changes nothing and only tells somebody.
func (k StepKind) Tells() bool {
	return k == StepWebhook || k == StepSlack || k == StepAlertmanager
}

// ActionPolicy is what the rules files call an action: a ladder of steps, climbed
// while a breach lasts and descended when it is over.
type ActionPolicy struct {
	Name   string
	Steps  []Step
	Lease  time.Duration // how long a change may live unrenewed
	Revert RevertPolicy
	Limits Limits
	Mode   Mode

	OnAlert []Matcher // alerts of others that start it, any of them

	ApprovalExpires time.Duration // how long a step waits for approval, 0 for as long as the breach lasts
}

// RevertPolicy says when the reversible steps of a ladder are taken back.
type RevertPolicy struct {
	After    time.Duration // this long without a break in health
	Stepwise bool          // one step each After, the last one first; otherwise all at once, in that order
}

// Limits bound how much a policy may do. A zero field is no limit.
type Limits struct {
	Cooldown  time.Duration // between the end of a ladder and the start of the next
	PerHour   int           // actions begun in the last hour
	MaxActive int           // actions in place at once
}

// Step is one rung of a ladder. Exactly the field that Kind names is set (Weight
// for StepDrain too).
type Step struct {
	Kind    StepKind     `json:"kind"`
	After   Duration     `json:"after,omitempty"` // since the ladder began, and only if it is still in breach
	Plugin  *PluginStep  `json:"plugin,omitempty"`
	Weight  *WeightStep  `json:"weight,omitempty"`
	Share   *ShareStep   `json:"share,omitempty"`
	Jenkins *JenkinsStep `json:"jenkins,omitempty"`
	Webhook *WebhookStep `json:"webhook,omitempty"`
	Divert  *DivertStep  `json:"divert,omitempty"`
	Service *ServiceStep `json:"service,omitempty"`
	Slack   *SlackStep   `json:"slack,omitempty"`

	Alertmanager *AlertmanagerStep `json:"alertmanager,omitempty"`
	Adaptive     *AdaptiveStep     `json:"adaptive,omitempty"`
}

// DivertStep leads a route to another service, such as one that takes orders down to be
// worked off later. Names are Kong's.
type DivertStep struct {
	Route string `json:"route"`
	To    string `json:"to"`
}

// ServiceStep enables or disables a service of Kong. For a disabled one it is as if its
// routes did not exist.
type ServiceStep struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

// SlackStep posts to an incoming webhook of Slack, or of what understands the same. The
// URL is a secret: better in a file.
type SlackStep struct {
	URL     string   `json:"url,omitempty"`
	URLFile string   `json:"url_file,omitempty"`
	Timeout Duration `json:"timeout,omitempty"` // 10 s unless set
}

// AlertmanagerStep posts an alert to an Alertmanager. It ends with the step's lease, is
// sent again when that is renewed, and resolved when the step is taken back.
type AlertmanagerStep struct {
	URL             string            `json:"url"`              // "http://alertmanager:9093", with its prefix
	Labels          map[string]string `json:"labels,omitempty"` // besides alertname, slo or canary, and severity; or instead of these
	BearerTokenFile string            `json:"bearer_token_file,omitempty"`
	Timeout         Duration          `json:"timeout,omitempty"` // 10 s unless set
}

// PluginStep puts a Kong plugin into a scope. Names are Kong's; without any the
// plugin is global.
type PluginStep struct {
	Name     string         `json:"name"`
	Service  string         `json:"service,omitempty"`
	Route    string         `json:"route,omitempty"`
	Consumer string         `json:"consumer,omitempty"`
	Config   map[string]any `json:"config,omitempty"`
}

// AdaptiveStep lets as many requests of a service or a route through as an SLO bears, by
// Kong's plugin rate-limiting. Limits are requests a second of the whole gateway.
type AdaptiveStep struct {
	SLO     string         `json:"slo"`              // what steers it
	Service string         `json:"service"`          // whose requests are limited; as Kong calls it
	Route   string         `json:"route,omitempty"`  // only those of this route of the service
	Floor   int            `json:"floor"`            // never below
	Ceiling int            `json:"ceiling"`          // never above
	Nodes   int            `json:"nodes,omitempty"`  // of Kong, each counting for itself; 0 means 1
	Settle  Duration       `json:"settle,omitempty"` // until the log shows what a change came to; 6 s unless set
	Config  map[string]any `json:"config,omitempty"` // further settings of the plugin
}

// PerNode returns what each node of Kong is to let through of a limit, rounded up.
func (s *AdaptiveStep) PerNode(limit int) int {
	nodes := max(s.Nodes, 1)
	return max((limit+nodes-1)/nodes, 1)
}

// Limit is where an adaptive limit stands, in requests a second of the whole gateway.
type Limit struct {
	Value  int             `json:"value"`
	Before int             `json:"before,omitempty"` // the one whose place it takes; Kong may still have that
	Since  time.Time       `json:"since"`            // when it was decided
	Law    json.RawMessage `json:"law,omitempty"`    // what package adaptive remembers over a restart
}

// WeightStep sets the weight of targets of an upstream: of one, named as Kong
// lists it ("10.0.0.7:8080"), or of those that carry a tag.
type WeightStep struct {
	Upstream  string `json:"upstream"`
	Target    string `json:"target,omitempty"`
	TargetTag string `json:"target_tag,omitempty"`
	Weight    int    `json:"weight"` // 0 to 65535
}

// ShareStep divides the requests of an upstream between a canary and its baseline, by the
// weights of their targets. Both tracks are sets of targets.
type ShareStep struct {
	Upstream string      `json:"upstream"`
	Tracks   [2]Selector `json:"tracks"`  // indexed by Track
	Percent  float64     `json:"percent"` // the canary's share; at 100 the baseline's weights are 0
}

// JenkinsStep runs a job and follows it to its end.
type JenkinsStep struct {
	Job        string            `json:"job"` // with its folders: "shop/orders-rollback"
	Parameters map[string]string `json:"parameters,omitempty"`
	Wait       Duration          `json:"wait,omitempty"`   // how long to follow it; 0 means 30 minutes
	Verify     Duration          `json:"verify,omitempty"` // within this after its end the breach must be over, or it is ineffective; 0 asks for nothing
	// Results says what a build is that ended as UNSTABLE, FAILURE, NOT_BUILT or ABORTED, by that
	// word in small letters; one that is not here is failed. SUCCESS is ok.
	Results map[string]JobResult `json:"results,omitempty"`
	Cancel  JobCancel            `json:"cancel,omitempty"` // CancelNever unless set
}

// JobResult says what the end of a build means.
type JobResult string

// What a build's end may mean.
const (
	JobOK      JobResult = "ok"      // the step is applied
	JobFailed  JobResult = "failed"  // it has failed
	JobUnknown JobResult = "unknown" // a person must look
)

// JobCancel says how far the guard may stop a job that it gives up: one whose wait is over,
// or whose answer a person takes back.
type JobCancel string

// How far a job may be stopped.
const (
	CancelNever   JobCancel = "never"
	CancelQueued  JobCancel = "queued"  // as long as it waits in Jenkins' queue
	CancelRunning JobCancel = "running" // its build too
)

// WebhookStep calls a URL with the action as JSON. Secrets stay in files, so that
// they are never in the journal.
type WebhookStep struct {
	URL             string            `json:"url,omitempty"`
	URLFile         string            `json:"url_file,omitempty"`
	Method          string            `json:"method,omitempty"` // POST unless set
	Headers         map[string]string `json:"headers,omitempty"`
	BearerTokenFile string            `json:"bearer_token_file,omitempty"`
	Timeout         Duration          `json:"timeout,omitempty"` // 10 s unless set
}

// Trigger is what an action answers to.
type Trigger struct {
	Kind     EventType `json:"kind"`
	Name     string    `json:"name"`
	Severity Severity  `json:"severity,omitempty"`
	Since    time.Time `json:"since"` // when the breach began; together with the names it makes the action's id
	Reason   string    `json:"reason"`
}

// ActionStatus is where an action stands.
type ActionStatus string

// The statuses of an action, in the order of its life.
const (
	ActionWaiting   ActionStatus = "waiting"   // for a person's approval
	ActionSkipped   ActionStatus = "skipped"   // not done, for the reason given; an end
	ActionStarted   ActionStatus = "started"   // the intent is in the journal; the call may have been made
	ActionApplied   ActionStatus = "applied"   // done; an end unless it can be reverted
	ActionFailed    ActionStatus = "failed"    // not done, or its job failed; an end
	ActionUnknown   ActionStatus = "unknown"   // the peer never said; a person must look; an end
	ActionReverting ActionStatus = "reverting" // the intent to revert is in the journal
	ActionReverted  ActionStatus = "reverted"  // what was there before is back; an end
	ActionLeft      ActionStatus = "left"      // somebody else changed it meanwhile, so it was left alone; an end
	ActionReplaced  ActionStatus = "replaced"  // the next move of the same run took its place; an end
	ActionExpired   ActionStatus = "expired"   // nobody approved it in time; an end

	// ActionIneffective is a step that was done and after which the breach lasted: the
	// next one is due. An end.
	ActionIneffective ActionStatus = "ineffective"
)

// States of events that are about more than one action: about a whole ladder (the
// event's name is the ladder's id) or about the guard (its name is GuardName).
const (
	LadderBegun    = "begun"    // it answers a run of a canary; the event's action is of no step
	LadderClosed   = "closed"   // a person took it back; it climbs no more while this breach lasts
	LadderReleased = "released" // a newer run of its canary has begun: what it holds stays, and is no longer its own
	LadderEnded    = "ended"    // the breach is over and nothing of it is in place, or it was released
	GuardPaused    = "paused"
	GuardResumed   = "resumed"
	GuardName      = "guard"
	PauseFileName  = "pause-file" // of events of a pause that lasts as long as a file is there
)

// InPlace reports whether an action of this status may have changed something at
// the gateway that is not yet put back.
func (s ActionStatus) InPlace() bool {
	return s == ActionStarted || s == ActionApplied || s == ActionUnverified || s == ActionReverting
}

// Action is one planned change. Its ID is its idempotency key: everything it does
// outside carries it, and is looked up by it before it is done again.
type Action struct {
	ID      string       `json:"id"` // policy, episode and step: "protect-orders-5f3a9c21d0-1"
	Policy  string       `json:"policy"`
	Ladder  string       `json:"ladder"` // policy and episode: all steps of one answer to one breach
	Step    int          `json:"step"`   // from 1
	Spec    Step         `json:"spec"`
	Trigger Trigger      `json:"trigger"`
	Mode    Mode         `json:"mode,omitempty"` // of the policy when the ladder began; it keeps it, over a reload and a restart
	Status  ActionStatus `json:"status"`

	PlannedAt  time.Time  `json:"planned_at"`
	StartedAt  *time.Time `json:"started_at,omitempty"` // when the intent went into the journal, just before the call
	AppliedAt  *time.Time `json:"applied_at,omitempty"`
	VerifiedAt *time.Time `json:"verified_at,omitempty"` // when it was seen whether the breach is over, of a step that asks for that; or when the traffic showed the change
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	LeaseUntil *time.Time `json:"lease_until,omitempty"`
	By         string     `json:"by,omitempty"` // the person who approved or reverted it

	Memo    json.RawMessage `json:"memo,omitempty"`    // the executor's own: what was there before, ids at the peer
	Change  string          `json:"change,omitempty"`  // what it changed, as a person would say it
	Undo    string          `json:"undo,omitempty"`    // how to undo it by hand: a ready command
	Link    string          `json:"link,omitempty"`    // where to look, such as the build's console
	Details string          `json:"details,omitempty"` // more, such as the console's tail
	Limit   *Limit          `json:"limit,omitempty"`   // where it stands, of an adaptive step
}

// Outcome is what became of one call of an executor.
type Outcome struct {
	Status  ActionStatus
	Reason  string // one plain sentence
	Change  string
	Undo    string
	Link    string
	Details string
	Memo    json.RawMessage // what the executor must know of the action from then on; nil leaves its memo as it is
}

// Shed describes responses that a change of the guard itself makes while it is in
// place: by Kong, in this scope, with this status.
type Shed struct {
	Action string // the action's id
	Scope  Series
	Status int
	From   time.Time
	To     time.Time // zero while the change is in place
}

// shedStatus is the status that a plugin answers with by itself, and the key of
// its configuration that changes it.
var shedStatus = map[string]struct {
	status int
	key    string
}{
	"request-termination":    {503, "status_code"},
	"rate-limiting":          {429, "error_code"},
	"response-ratelimiting":  {429, ""},
	"request-size-limiting":  {413, ""},
	"ip-restriction":         {403, "status"},
	"acl":                    {403, ""},
	"bot-detection":          {403, ""},
	"rate-limiting-advanced": {429, "error_code"},
}

// StatusKey returns the key of the plugin's configuration that says with which status it
// answers by itself, "" when none does, and the status that it answers with when the step
// does not say: 0 for a plugin that makes no responses of its own.
func (p *PluginStep) StatusKey() (key string, status int) {
	known := shedStatus[p.Name]
	return known.key, known.status
}

// Sheds returns what responses of its own the step's plugin makes, and false when
// it makes none.
func (p *PluginStep) Sheds() (Shed, bool) {
	key, status := p.StatusKey()
	if status == 0 {
		return Shed{}, false
	}
	switch v := p.Config[key].(type) {
	case int:
		status = v
	case float64:
		status = int(v)
	}
	return Shed{Scope: Series{Service: p.Service, Route: p.Route, Consumer: p.Consumer}, Status: status}, true
}

// Puts returns the plugin that a step puts in place, nil when it puts none. Of an adaptive
// step it is the plugin without its limit, which is in the action.
func (s *Step) Puts() *PluginStep {
	switch {
	case s.Plugin != nil:
		return s.Plugin
	case s.Adaptive != nil:
		p := &PluginStep{Name: "rate-limiting", Service: s.Adaptive.Service, Config: s.Adaptive.Config}
		if s.Adaptive.Route != "" {
			p.Service, p.Route = "", s.Adaptive.Route
		}
		return p
	default:
		return nil
	}
}

// Sheds returns what responses of its own the step makes, and false when it makes none. A
// disabled service makes none: Kong takes its routes out of the router, and answers with
// 404 as for any path that it does not know, for no service at all.
func (s *Step) Sheds() (Shed, bool) {
	p := s.Puts()
	if p == nil {
		return Shed{}, false
	}
	return p.Sheds()
}

// Matches reports whether r is a response that the change made.
func (s *Shed) Matches(r *Record) bool {
	return r.Origin == OriginKong && r.Status == s.Status &&
		!r.At.Before(s.From) && (s.To.IsZero() || !r.At.After(s.To)) && s.Scope.Matches(r)
}
