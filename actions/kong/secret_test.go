package kong

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// TestWhatKongEncryptsIsASecret has every field that Kong 3.9.1 declares with `encrypted = true`
// (git grep in its folders kong/plugins, kong/llm, kong/tools/redis and kong/db/schema).
func TestWhatKongEncryptsIsASecret(t *testing.T) {
	for plugin, fields := range map[string]string{
		"acme":              "account_email eab_kid eab_hmac_key",
		"ai-proxy":          "header_value param_value aws_access_key_id aws_secret_access_key",
		"aws-lambda":        "aws_key aws_secret aws_assume_role_arn",
		"azure-functions":   "apikey clientid",
		"basic-auth":        "password",
		"http-log":          "http_endpoint",
		"keys":              "jwk private_key",
		"loggly":            "key",
		"oauth2":            "client_secret provision_key",
		"redis":             "password",
		"session":           "secret",
		"standard-webhooks": "secret_v1",
	} {
		for field := range strings.FieldsSeq(fields) {
			if config := (object{"a": object{field: "hunter2"}}); !holdsSecret(config) {
				t.Errorf("%s of %s is shown", field, plugin)
			}
		}
	}
}

// TestSecretsByTheirNames has those of plugins that are not in Kong's own repository, and of headers.
func TestSecretsByTheirNames(t *testing.T) {
	for _, name := range []string{
		"passphrase", "session_secret", "client_secret", "client_jwk", "cookie", "Cookie", "Set-Cookie", "X-Api-Key", "DD-API-KEY", "X-Auth",
		"Proxy-Authorization", "vault_token", "request_signing_key", "response_encryption_key", "token_post_args_values", "ldap_password",
		"confluent_cloud_api_secret", "bearer_token", "session_redis_password", "privateKey", "secret_id", "rsa_private_key",
		"gcp_service_account_json", "redis_password", "azure_client_secret", "pass", "db_pass", "pwd", "private_key_pem", "jwt", "X-Signature", "sentry_dsn",
	} {
		if !secret(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{
		"key_names", "key_claim_name", "key_id", "public_key", "rsa_public_key", "cookie_name", "cookie_names", "cookie_path", "cookie_same_site",
		"remember_cookie_name", "auth_header_name", "auth_method", "credential_claim", "bearer_token_param_type", "token_endpoint", "token_endpoint_auth_method",
		"limit_by", "policy", "minute", "hash_on_header", "author", "header_name", "param_name", "key_in_header", "username", "bypass", "signature_algorithm", "jwt_claims",
	} {
		if secret(name) {
			t.Errorf("%s is hidden", name)
		}
	}
}

func TestSwitchesAndNumbersAreShownWhateverTheirName(t *testing.T) {
	a := object{"hide_credentials": false, "refresh_token_ttl": json.Number("60"), "key_names": []any{"apikey"}}
	b := object{"hide_credentials": true, "refresh_token_ttl": json.Number("90"), "key_names": []any{"x-key"}}
	want := []string{`config.hide_credentials: false → true`, `config.key_names: ["apikey"] → ["x-key"]`, `config.refresh_token_ttl: 60 → 90`}
	if diff := cmp.Diff(want, differences("config", a, b)); diff != "" {
		t.Error(diff)
	}
}

func TestShownHasNoSecret(t *testing.T) {
	for name, c := range map[string][2]string{
		"nothing to hide stays to the byte": {`{"plugin": "a", "before":{"config":{"minute":600}}}`, `{"plugin": "a", "before":{"config":{"minute":600}}}`},
		"fields, deep":                      {`{"before":{"config":{"redis":{"host":"h","password":"hunter2"},"n":1.50}}}`, `{"before":{"config":{"n":1.50,"redis":{"host":"h","password":"<secret>"}}}}`},
		"headers":                           {`{"add":{"headers":["X-A:1","Cookie: hunter2"]}}`, `{"add":{"headers":["X-A:1","Cookie:<secret>"]}}`},
		"a URL":                             {`{"to":["http://me:hunter2@log/x","http://log/@x"]}`, `{"to":["<secret>","http://log/@x"]}`},
		"a URL with a token":                {`{"to":["https://ghp_x@hub/x","https://h/x?a=1&access_token=y","https://h/x?token="]}`, `{"to":["<secret>","<secret>","https://h/x?token="]}`},
		"a URL that is none":                {`{"to":"http://me:hunter%zz2@log/x"}`, `{"to":"<secret>"}`},
		"no JSON":                           {`{"password":"hunter2`, `"<secret>"`},
		"no memo":                           {``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(shownJSON(json.RawMessage(c[0]))))
			if diff := cmp.Diff(c[1], got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASecretInTheRulesIsNotShown(t *testing.T) {
	step := gatewarden.PluginStep{Name: "http-log", Config: map[string]any{"headers": map[string]any{"Authorization": "hunter2"}, "timeout": 5}}
	a := gatewarden.Action{ID: "a-1", Spec: gatewarden.Step{Kind: gatewarden.StepPlugin, Plugin: &step}}
	if shown := compact(Shown(a)); strings.Contains(shown, "hunter2") || !strings.Contains(shown, `"timeout":5`) {
		t.Error(shown)
	}
	if step.Config["headers"].(map[string]any)["Authorization"] != "hunter2" {
		t.Error("what is to be done was changed")
	}
}

func FuzzShown(f *testing.F) {
	f.Add([]byte(`{"password":"x","headers":["Cookie:a"],"url":"http://a:b@c"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out := shownJSON(raw)
		if len(raw) > 0 && !json.Valid(out) && json.Valid(raw) {
			t.Errorf("%s became %s", raw, out)
		}
		if again := shownJSON(out); len(out) > 0 && json.Valid(out) && !cmp.Equal(values(t, out), values(t, again)) {
			t.Errorf("%s became %s, and that %s", raw, out, again)
		}
	})
}

func values(t *testing.T, raw []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
