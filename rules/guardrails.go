package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// guardrailsSpec are the guardrails as they are written: once for all files.
type guardrailsSpec struct {
	MaxServices ratio              `yaml:"max_services"`
	MaxTraffic  ratio              `yaml:"max_traffic"`
	QuietHours  []*quietSpec       `yaml:"quiet_hours"`
	Maintenance []*maintenanceSpec `yaml:"maintenance"`

	doc *document
}

type quietSpec struct {
	Days    []string  `yaml:"days"`
	From    timeOfDay `yaml:"from"`
	To      timeOfDay `yaml:"to"`
	Zone    string    `yaml:"zone"`
	Actions []string  `yaml:"actions"`
	Reason  string    `yaml:"reason"`
}

type maintenanceSpec struct {
	From     instant  `yaml:"from"`
	To       instant  `yaml:"to"`
	Services []string `yaml:"services"`
	Reason   string   `yaml:"reason"`
}

// timeOfDay is written as 22:00, from 00:00 to 24:00.
type timeOfDay time.Duration

// UnmarshalText reads hours and minutes.
func (t *timeOfDay) UnmarshalText(b []byte) error {
	hours, minutes, ok := strings.Cut(string(b), ":")
	h, herr := strconv.ParseUint(hours, 10, 8)
	m, merr := strconv.ParseUint(minutes, 10, 8)
	if !ok || herr != nil || merr != nil || len(minutes) != 2 || m > 59 || h*60+m > 24*60 {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is no time of day", b).WithHint(`write "22:00"`)
	}
	*t = timeOfDay(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
	return nil
}

// instant is written as RFC 3339 has it.
type instant time.Time

// UnmarshalText reads date, time and offset.
func (i *instant) UnmarshalText(b []byte) error {
	at, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is no instant", b).WithHint("write 2026-11-22T01:00:00Z, or with an offset: 2026-11-22T02:00:00+01:00")
	}
	*i = instant(at)
	return nil
}

// build makes the guardrails and reports what is wrong with them.
func (g *guardrailsSpec) build(d *document) gatewarden.Guardrails {
	rails := gatewarden.Guardrails{MaxServices: float64(g.MaxServices), MaxTraffic: float64(g.MaxTraffic)}
	for _, q := range g.QuietHours {
		rails.QuietHours = append(rails.QuietHours, q.build(d))
	}
	for _, m := range g.Maintenance {
		rails.Maintenance = append(rails.Maintenance, m.build(d))
	}
	return rails
}

// dayNames are the words for days, by time.Weekday.
func dayNames() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

func (q *quietSpec) build(d *document) gatewarden.QuietHours {
	quiet := gatewarden.QuietHours{
		From: time.Duration(q.From), To: time.Duration(q.To), Zone: time.Local, Actions: q.Actions, Reason: q.Reason,
	}
	for i, name := range q.Days {
		at := d.find(&q.Days[i])
		if d.choice(at, "days", name, dayNames()...) {
			for day, n := range dayNames() {
				quiet.Days[day] = quiet.Days[day] || n == name
			}
		}
	}
	if d.find(&q.Days) == nil {
		quiet.Days = [7]bool{true, true, true, true, true, true, true}
	} else if len(q.Days) == 0 {
		d.errorf(d.find(&q.Days), "name days, or remove the key for all of them", "days names none")
	}
	for _, part := range []struct {
		name string
		at   *yaml.Node
	}{{"from", d.find(&q.From)}, {"to", d.find(&q.To)}} {
		if part.at == nil && !d.hasProblemIn(d.find(q)) {
			d.errorf(d.find(q), fmt.Sprintf(`add %s: "22:00"`, part.name), "the quiet hours have no %s", part.name)
		}
	}
	if quiet.From == 24*time.Hour {
		d.errorf(d.find(&q.From), `write "00:00", and the next day`, "nothing begins at 24:00")
	}
	if at := d.find(&q.Zone); at != nil {
		zone, err := time.LoadLocation(q.Zone)
		if err != nil || q.Zone == "" {
			d.errorf(at, "write one of the IANA names, such as Europe/Berlin, or UTC", "the time zone %q is not known", q.Zone)
		} else {
			quiet.Zone = zone
		}
	}
	return quiet
}

func (m *maintenanceSpec) build(d *document) gatewarden.Maintenance {
	out := gatewarden.Maintenance{From: time.Time(m.From), To: time.Time(m.To), Services: m.Services, Reason: m.Reason}
	at := d.find(m)
	switch {
	case d.hasProblemIn(at):
	case out.From.IsZero():
		d.errorf(at, "add from: 2026-11-22T01:00:00Z", "the maintenance has no from")
	case out.To.IsZero():
		d.errorf(at, "add to: 2026-11-22T03:00:00Z", "the maintenance has no to: it would never end")
	case !out.To.After(out.From):
		d.errorf(d.find(&m.To), "", "the maintenance ends before it begins")
	}
	for i, s := range m.Services {
		checkSelector(d, d.find(&m.Services[i]), s)
	}
	return out
}

// checkGuardrails reports guardrails that are written twice, and quiet hours for actions
// that do not exist.
func (r *Rules) checkGuardrails() {
	names := map[string]bool{}
	for _, a := range r.actions {
		names[a.Name] = true
	}
	for k, g := range r.guardrails {
		if k > 0 {
			first := r.guardrails[0]
			g.doc.errorf(g.doc.find(g), "keep all of them in one place", "there are guardrails already, in %s:%d", first.doc.name, first.doc.find(first).Line)
		}
		for _, q := range g.QuietHours {
			for i, name := range q.Actions {
				if !names[name] {
					g.doc.errorf(g.doc.find(&q.Actions[i]), didYouMean(name, sortedKeys(names), "define it under actions:, in any rules file"), "there is no action %q", name)
				}
			}
		}
	}
}
