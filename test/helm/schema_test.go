package helm_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// againstSchema holds an object to Kubernetes' published OpenAPI schema of its kind (of
// the release that kyaml carries; newer fields are the business of the API types). What
// has no schema there, as custom resources, is held to its type alone.
func againstSchema(o object) []string {
	definition, ok := definitionOf(o.raw)
	if !ok {
		return nil
	}
	result := validate.NewSchemaValidator(definition, nil, "", strfmt.Default).Validate(o.raw)
	var problems []string
	for _, err := range result.Errors {
		problems = append(problems, err.Error())
	}
	return problems
}

// definitionOf finds the definition of an object's kind, without references.
func definitionOf(raw map[string]any) (*spec.Schema, bool) {
	group, version, ok := strings.Cut(fmt.Sprint(raw["apiVersion"]), "/")
	if !ok {
		group, version = "core", group
	}
	group, _, _ = strings.Cut(group, ".") // networking.k8s.io
	all := openapi.Schema().Definitions
	found, ok := all[fmt.Sprintf("io.k8s.api.%s.%s.%v", group, version, raw["kind"])]
	if !ok {
		return nil, false
	}
	s := resolve(found, all)
	return &s, true
}

// resolve puts definitions in the place of references. The schemas of the kinds here
// have no circles.
func resolve(s spec.Schema, all spec.Definitions) spec.Schema {
	if name, ok := strings.CutPrefix(s.Ref.String(), "#/definitions/"); ok {
		return resolve(all[name], all)
	}
	if quantity(s) {
		return spec.Schema{}
	}
	properties := map[string]spec.Schema{}
	for name, p := range s.Properties {
		properties[name] = resolve(p, all)
	}
	s.Properties = properties
	if s.Items != nil && s.Items.Schema != nil {
		item := resolve(*s.Items.Schema, all)
		s.Items = &spec.SchemaOrArray{Schema: &item}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		value := resolve(*s.AdditionalProperties.Schema, all)
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &value}
	}
	return s
}

// quantity tells what may be a number or a string, which a schema of OpenAPI 2 cannot
// say; the API types read it.
func quantity(s spec.Schema) bool {
	return s.Format == "int-or-string" || strings.HasPrefix(s.Description, "Quantity is")
}

func TestTheSchemaFindsWhatIsWrong(t *testing.T) {
	service := func(spec map[string]any) object {
		return object{kind: "Service", raw: map[string]any{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "x"}, "spec": spec,
		}}
	}
	if problems := againstSchema(service(map[string]any{"ports": []any{map[string]any{"port": int64(80), "targetPort": "api"}}})); len(problems) > 0 {
		t.Errorf("a good service: %q", problems)
	}
	for sentence, wrong := range map[string]map[string]any{
		"a port that is a word": {"ports": []any{map[string]any{"port": "http"}}},
		"a port without number": {"ports": []any{map[string]any{"name": "api"}}},
		"ports that are a map":  {"ports": map[string]any{"api": int64(80)}},
	} {
		if len(againstSchema(service(wrong))) == 0 {
			t.Errorf("%s passes", sentence)
		}
	}
	for _, kind := range []string{"v1/ConfigMap", "apps/v1/StatefulSet", "policy/v1/PodDisruptionBudget", "networking.k8s.io/v1/NetworkPolicy", "v1/ServiceAccount"} {
		at := strings.LastIndex(kind, "/")
		if _, ok := definitionOf(map[string]any{"apiVersion": kind[:at], "kind": kind[at+1:]}); !ok {
			t.Errorf("there is no schema of %s", kind)
		}
	}
}
