// Package helm holds the chart of deploy/helm to Helm's own renderer and linter, to
// Kubernetes' OpenAPI schemas and API types, and the files in it to the guard that reads
// them.
//
// It is a module of its own because Helm and Kubernetes bring some hundred modules that
// the guard does not need. There is nothing in it but tests.
package helm
