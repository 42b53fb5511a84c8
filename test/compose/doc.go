// Package compose holds docker-compose.yml and the configurations under deploy/compose
// to the code of the tools that read them: Compose's own loader, Prometheus',
// Alertmanager's. What no library reads (Jenkins' and Logstash's files) it holds to the
// names and addresses of the rest.
//
// It is a module of its own because these tools bring some hundred modules that the
// guard does not need. There is nothing in it but tests. docs/compose.md has the list of
// what accepted which file.
package compose
