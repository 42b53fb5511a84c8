package dashboards

import (
	"io/fs"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A mistake in a provisioning file keeps Grafana from starting.
func TestProvisioning(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool           `yaml:"isDefault"`
			Editable                     bool           `yaml:"editable"`
			JSONData                     map[string]any `yaml:"jsonData"`
		}
	}
	read(t, "provisioning/datasources.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.APIVersion != 1 {
		t.Fatalf("want one data source in version 1, have %+v", sources)
	}
	if s := sources.Datasources[0]; s.Type != source().Type || s.UID == "" || s.Access != "proxy" || s.URL == "" || s.JSONData["timeInterval"] == nil {
		t.Errorf("the data source is %+v", s)
	}

	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type    string
			OrgID                 int    `yaml:"orgId"`
			FolderUID             string `yaml:"folderUid"`
			DisableDeletion       bool   `yaml:"disableDeletion"`
			AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
			Options               struct {
				Path             string
				FoldersFromFiles bool `yaml:"foldersFromFilesStructure"`
			}
		}
	}
	read(t, "provisioning/dashboards.yaml", &providers)
	if len(providers.Providers) != 1 || providers.APIVersion != 1 {
		t.Fatalf("want one provider in version 1, have %+v", providers)
	}
	if p := providers.Providers[0]; p.Type != "file" || p.Options.Path == "" || p.AllowUIUpdates || p.Folder == "" || p.FolderUID == "" || p.Options.FoldersFromFiles {
		t.Errorf("the provider is %+v", p)
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := fs.ReadFile(Files(), file)
	if err != nil {
		t.Fatal(err)
	}
	decode := yaml.NewDecoder(strings.NewReader(string(text)))
	decode.KnownFields(true)
	if err := decode.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if strings.Contains(strings.ReplaceAll(string(text), "$$", ""), "$") {
		t.Errorf("%s: Grafana takes a single $ for a variable of its environment", file)
	}
}
