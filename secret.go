package gatewarden

import (
	"fmt"
	"io"
)

// Redacted is what a Secret shows instead of its value.
const Redacted = "<secret>"

// Secret is a string that must never be seen: in a log, an error, a page, a dump
// of the configuration. Whatever prints or encodes it writes Redacted; only Reveal
// returns the value. The zero Secret is unset.
type Secret struct {
	// A pointer, because fmt prints unexported fields of a struct without asking
	// their methods: it shows an address then, not the value.
	value *string
}

// NewSecret wraps s. An empty string makes the zero Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{value: &s}
}

// Reveal returns the value, for the one call that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether s is unset.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal reports whether both hold the same value.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String returns Redacted, or "" when s is unset.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// Format writes String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText writes String; JSON, YAML and slog use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}
