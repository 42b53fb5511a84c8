package journal

import (
	"encoding/json"
	"fmt"

	"github.com/gatewarden/gatewarden"
)

// maxEvent is how long an encoded event may be, a little below what a NATS server
// takes by default (1 MiB).
const maxEvent = 1<<20 - 1<<12

// encode returns the bytes that a message carries: the event as JSON, without its
// position, which is the message's. It refuses what decode would not take back.
func encode(e *gatewarden.Event) ([]byte, error) {
	if err := check(e); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "an event that is none: %w", err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "%s event of %s: %w", e.Type, e.Name, err)
	}
	if len(data) > maxEvent {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "%s event of %s has %d bytes, the limit is %d", e.Type, e.Name, len(data), maxEvent)
	}
	return data, nil
}

// decode reads what encode wrote. Fields that it does not know are those of a newer
// version, and passed over.
func decode(data []byte) (gatewarden.Event, error) {
	var e gatewarden.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return gatewarden.Event{}, fmt.Errorf("no event: %w", err)
	}
	if err := check(&e); err != nil {
		return gatewarden.Event{}, fmt.Errorf("no event: %w", err)
	}
	return e, nil
}

// check holds an event to what every reader relies on.
func check(e *gatewarden.Event) error {
	switch {
	case e.Type == "":
		return fmt.Errorf("it has no type")
	case e.Name == "":
		return fmt.Errorf("it has no name")
	case e.State == "":
		return fmt.Errorf("it has no state")
	case e.At.IsZero():
		return fmt.Errorf("it has no time")
	case e.Action != nil && (e.Action.ID == "" || e.Action.Ladder == ""):
		return fmt.Errorf("its action has no id or no ladder")
	}
	return subjectSafe(string(e.Type))
}

// subjectSafe holds a type to what can be part of a subject.
func subjectSafe(t string) error {
	for _, c := range t {
		if (c < 'a' || c > 'z') && c != '_' {
			return fmt.Errorf("its type %q is not a word", t)
		}
	}
	return nil
}
