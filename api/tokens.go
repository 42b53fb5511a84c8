package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// Tokens lets in who bears a token: programs such as Jenkins, which have no user. Their
// names stand in the timeline beside who they say they act for.
type Tokens struct {
	// All returns the tokens that there are now, by the names of who bears them, no two alike.
	// An error says that some are missing, and is not shown to anybody.
	All func() (map[string]string, error)
	// Inner answers who is let in, Others who bears no token: they may have a user.
	Inner, Others http.Handler
	// Users reports whether Others lets in nobody but users.
	Users func() bool
}

// ServeHTTP answers, or says why not.
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme, token, bears := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case bears && strings.EqualFold(scheme, "Bearer"):
		name, err := t.bearer(token)
		switch {
		case name != "":
			t.Inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, name)))
		case err != nil: // it may be the one that is being renewed
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, errorBody(gatewarden.Errorf(gatewarden.Unavailable,
				"whose token that is cannot be said: a file of web.token_files cannot be read; the guard's log says which")))
		default:
			refuse(w, "the token is none of those that web.token_files has")
		}
	case t.Users(), r.URL.Path == "/-/healthy", r.URL.Path == "/-/ready": // probes have no token, and learn nothing
		t.Others.ServeHTTP(w, r)
	default:
		refuse(w, "this guard wants a token: Authorization: Bearer TOKEN, or --token-file of the command line")
	}
}

// bearer returns whose the token is, "" when it is nobody's as far as is known: err says that
// some tokens are not. How long it takes tells nothing of a token.
func (t *Tokens) bearer(token string) (name string, err error) {
	given := sha256.Sum256([]byte(token))
	tokens, err := t.All()
	for n, secret := range tokens {
		if want := sha256.Sum256([]byte(secret)); secret != "" && subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			name = n
		}
	}
	return name, err
}

func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	writeJSON(w, http.StatusUnauthorized, errorBody(gatewarden.Errorf(gatewarden.Invalid, "%s", why)))
}

type callerKey struct{}

// signed is who asks as the timeline has it: whom the request names, and whose token it bears.
func signed(r *http.Request, by string) string {
	by = strings.TrimSpace(by)
	caller, _ := r.Context().Value(callerKey{}).(string)
	switch {
	case caller == "" || caller == by:
		return by
	case by == "":
		return caller
	default:
		return by + " (token of " + caller + ")"
	}
}
