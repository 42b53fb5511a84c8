package kong

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewarden/gatewarden"
)

// What must not be shown of a plugin is told by the names of its fields, because plugins of
// others have no schema that says it. Held to the fields that the plugins of Kong 3.9 mark as
// encrypted; see TestWhatKongEncryptsIsASecret.

// secretWords make a secret of every name that has one of them in it: session_secret, redis_password.
func secretWords() []string {
	return []string{"password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "private_key"}
}

// secretEnds make a secret of every name that ends in one of them. The second line is what Kong
// encrypts although its name does not say why.
func secretEnds() []string {
	return []string{
		"key", "keys", "jwk", "jwks", "jwt", "cookie", "cookies", "auth", "pwd", "_pass", "dsn", "signature",
		"http_endpoint", "header_value", "param_value", "service_account_json", "access_key_id", "role_arn", "clientid", "eab_kid", "account_email",
	}
}

// aboutEnds end the names of fields that say something about a secret and do not hold it:
// token_type, credential_claim, refresh_token_param_name. So does what is public.
func aboutEnds() []string {
	return []string{"name", "names", "type", "types", "claim", "method", "methods", "endpoint", "uri", "url", "issuer", "algorithm", "public_key"}
}

// secret reports whether a field or a header of that name holds a secret, unless it is empty.
func secret(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	ends := func(end string) bool { return strings.HasSuffix(name, end) }
	has := func(word string) bool { return strings.Contains(name, word) }
	about := func(end string) bool { return name == end || strings.HasSuffix(name, "_"+end) }
	return name == "pass" || slices.ContainsFunc(secretEnds(), ends) && !about("public_key") ||
		slices.ContainsFunc(secretWords(), has) && !slices.ContainsFunc(aboutEnds(), about)
}

// secretPath reports whether a field is a secret, or is part of one: "config.credentials.user".
func secretPath(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "."), secret)
}

// holdsSecret reports whether a value has something that must not be shown: below a field with
// the name of a secret, in a list of headers ("Authorization:Bearer ..."), or in a URL.
func holdsSecret(v any) bool {
	switch v := v.(type) {
	case object:
		for name, inner := range v {
			if secret(name) && !empty(inner) || holdsSecret(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return secretHeader(item) || holdsSecret(item) })
	case string:
		return secretURL(v)
	}
	return false
}

// empty reports whether nothing is in a value: what is switched on or off is no secret.
func empty(v any) bool {
	switch v := v.(type) {
	case nil, bool, json.Number:
		return true
	case string:
		return v == ""
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !empty(item) })
	case object:
		for _, inner := range v {
			if !empty(inner) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// secretHeader reports whether an item of a list is a header with a secret.
func secretHeader(item any) bool {
	s, _ := item.(string)
	name, value, isHeader := strings.Cut(s, ":")
	return isHeader && value != "" && secret(name)
}

// secretURL reports whether a text is a URL with user information, which may be a token
// without a name, or with a query that has a secret.
func secretURL(s string) bool {
	if !strings.Contains(s, "://") || !strings.ContainsAny(s, "@?") {
		return false
	}
	u, err := url.Parse(s)
	if err != nil {
		return true // a password may be what keeps it from being one
	}
	if u.User != nil {
		return true
	}
	for name, values := range u.Query() {
		if secret(name) && slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
			return true
		}
	}
	return false
}

// Shown returns an action as it may be seen outside of the guard: gatewarden.Redacted stands in
// the place of every secret in its memo, which has the user's plugin whole, and in what it sets.
// What has none stays as it is, to the byte.
func Shown(a gatewarden.Action) gatewarden.Action {
	a.Memo = shownJSON(a.Memo)
	if step := a.Spec.Plugin; step != nil {
		changed := *step
		changed.Config = shownConfig(step.Config)
		a.Spec.Plugin = &changed
	}
	if step := a.Spec.Adaptive; step != nil {
		changed := *step
		changed.Config = shownConfig(step.Config)
		a.Spec.Adaptive = &changed
	}
	return a
}

// shownConfig is without secrets; of what cannot be written as JSON nothing is shown.
func shownConfig(config map[string]any) map[string]any {
	v, err := plain(config)
	if err != nil {
		return nil
	}
	if !holdsSecret(v) {
		return config
	}
	clean, _ := shown(v).(object)
	return clean
}

func shownJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return raw
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return json.RawMessage(`"` + gatewarden.Redacted + `"`)
	}
	if !holdsSecret(v) {
		return raw
	}
	return json.RawMessage(compact(shown(v)))
}

// shown replaces the secrets in a value.
func shown(v any) any {
	switch v := v.(type) {
	case object:
		out := make(object, len(v))
		for name, inner := range v {
			if secret(name) && !empty(inner) {
				out[name] = gatewarden.Redacted
			} else {
				out[name] = shown(inner)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = shown(item)
			if secretHeader(item) {
				name, _, _ := strings.Cut(item.(string), ":")
				out[i] = name + ":" + gatewarden.Redacted
			}
		}
		return out
	case string:
		if secretURL(v) {
			return gatewarden.Redacted
		}
	}
	return v
}
