package gatewarden

import (
	"errors"
	"fmt"
)

// Code classifies an error by what the caller can do about it.
type Code string

// The codes. Unavailable is the only one worth a retry without a change.
const (
	Invalid     Code = "invalid"     // the request or the file is wrong
	NotFound    Code = "not_found"   // what it names does not exist
	Conflict    Code = "conflict"    // the state of things forbids it now
	Unavailable Code = "unavailable" // a peer did not answer; try again
	Internal    Code = "internal"    // a defect here
)

// Error is an error with a code, and with a hint where something can be done.
type Error struct {
	Code    Code
	Message string
	Hint    string
	Err     error
}

// Errorf returns an Error with a formatted message; %w wraps as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns a copy of e that says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error returns the message, followed by the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the code of the first Error in err's chain, Internal when
// there is none, and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
