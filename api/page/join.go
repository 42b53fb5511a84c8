package page

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// The modules of the page are written as JavaScript has them, one file a subject, and sent
// as one script: a browser that has to ask for each of them shows the page later. What they
// may use of the language's modules is this, and anything else is an error.
var (
	importLine = regexp.MustCompile(`(?m)^import \{ ([\w$, ]+) \} from "(\.[^"]+)";\n`)
	exportWord = regexp.MustCompile(`(?m)^export ((?:async function|function|const|class) ([\w$]+))`)
	leftOver   = regexp.MustCompile(`(?m)^(?:import|export)\b.*|\bimport(?:\.meta|\().*`)
)

// joiner writes modules one after the other, each after those that it imports.
type joiner struct {
	files   fs.FS
	names   map[string]string // of the constants that modules became, by file; "" while it is being written
	written strings.Builder
}

// join makes one script of the module of that name and all that it needs. Each becomes a
// constant that holds what it exports, so that their own names do not meet.
func join(files fs.FS, main string) (string, error) {
	j := &joiner{files: files, names: map[string]string{}}
	j.written.WriteString("\"use strict\";\n{\n")
	if err := j.write(main); err != nil {
		return "", err
	}
	j.written.WriteString("}\n")
	return j.written.String(), nil
}

func (j *joiner) write(file string) error {
	text, err := fs.ReadFile(j.files, file)
	if err != nil {
		return fmt.Errorf("reading a module of the page: %w", err)
	}
	j.names[file] = ""
	source := string(text)
	for _, m := range importLine.FindAllStringSubmatch(source, -1) {
		from := path.Join(path.Dir(file), m[2])
		name, begun := j.names[from]
		switch {
		case !begun:
			if err := j.write(from); err != nil {
				return err
			}
			name = j.names[from]
		case name == "":
			return fmt.Errorf("%s and %s import each other", file, from)
		}
		source = strings.Replace(source, m[0], fmt.Sprintf("const { %s } = %s;\n", strings.ReplaceAll(m[1], " as ", ": "), name), 1)
	}
	var exports []string
	for _, m := range exportWord.FindAllStringSubmatch(source, -1) {
		exports = append(exports, m[2])
	}
	source = exportWord.ReplaceAllString(source, "$1")
	if rest := leftOver.FindString(source); rest != "" {
		return fmt.Errorf("%s: the page's modules cannot use: %s", file, rest)
	}
	name := "$" + strings.Map(func(r rune) rune {
		if strings.ContainsRune("/.-", r) {
			return '_'
		}
		return r
	}, strings.TrimSuffix(file, ".js"))
	j.names[file] = name
	fmt.Fprintf(&j.written, "// %s\nconst %s = (() => {\n%s\nreturn { %s };\n})();\n", file, name, source, strings.Join(exports, ", "))
	return nil
}
