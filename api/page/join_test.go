package page

import (
	"strings"
	"testing"
	"testing/fstest"
)

func modules(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func TestModulesAreJoinedEachAfterThoseThatItImports(t *testing.T) {
	got, err := join(modules(
		"js/main.js", "import { a, twice as b } from \"./views/x.js\";\nimport { h } from \"./dom.js\";\n\nh(a, b);\n",
		"js/views/x.js", "import { h } from \"../dom.js\";\nexport const a = 1;\nexport function twice() {}\nconst own = 2;\n",
		"js/dom.js", "export async function h() {}\nexport class C {}\n",
	), "js/main.js")
	want := `"use strict";
{
// js/dom.js
const $js_dom = (() => {
async function h() {}
class C {}

return { h, C };
})();
// js/views/x.js
const $js_views_x = (() => {
const { h } = $js_dom;
const a = 1;
function twice() {}
const own = 2;

return { a, twice };
})();
// js/main.js
const $js_main = (() => {
const { a, twice: b } = $js_views_x;
const { h } = $js_dom;

h(a, b);

return {  };
})();
}
`
	if err != nil || got != want {
		t.Errorf("%v, joined:\n%s", err, got)
	}
}

func TestWhatCannotBeJoinedIsAnError(t *testing.T) {
	for why, c := range map[string]struct {
		files fstest.MapFS
		says  string
	}{
		"a module that is not there":          {modules("m.js", "import { a } from \"./n.js\";\n"), "n.js"},
		"two that import each other":          {modules("m.js", "import { a } from \"./n.js\";\n", "n.js", "import { b } from \"./m.js\";\n"), "import each other"},
		"an import of everything":             {modules("m.js", "import * as n from \"./n.js\";\n"), "cannot use: import *"},
		"an import over several lines":        {modules("m.js", "import {\n a } from \"./n.js\";\n"), "cannot use: import {"},
		"a default export":                    {modules("m.js", "export default 1;\n"), "cannot use: export default"},
		"a variable that may change":          {modules("m.js", "export let a = 1;\n"), "cannot use: export let"},
		"the address of a module":             {modules("m.js", "f(import.meta.url);\n"), "cannot use: import.meta"},
		"a module that is asked for later on": {modules("m.js", "await import(\"./n.js\");\n"), "cannot use: import("},
	} {
		if got, err := join(c.files, "m.js"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, joined %q", why, err, got)
		}
	}
}
