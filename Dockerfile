# Three images of one build: the guard, the shop of the example, and a Jenkins whose
# pipelines know both. docker-compose.yml builds them all; the guard alone is
#   docker build --target gatewarden --tag gatewarden .
ARG GO_IMAGE=golang:1.26.8-bookworm
ARG JENKINS_IMAGE=jenkins/jenkins:2.555.3-lts-jdk21

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Static, so that it runs in an image without a C library.
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags="-s -w" -o /out/ ./cmd/gatewarden ./examples/shop
# A volume takes the owner of the folder that it is mounted upon.
RUN mkdir /out/data

# No distribution at all: no shell, no package, no root; only what TLS and calendars need.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /usr/local/go/lib/time/zoneinfo.zip
ENV ZONEINFO=/usr/local/go/lib/time/zoneinfo.zip
USER 65532:65532

FROM base AS gatewarden
COPY --from=build /out/gatewarden /usr/local/bin/gatewarden
COPY --from=build --chown=65532:65532 /out/data /data
VOLUME /data
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 CMD ["/usr/local/bin/gatewarden", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/gatewarden"]
CMD ["run", "--config", "/etc/gatewarden/gatewarden.yaml"]

FROM base AS shop
COPY --from=build /out/shop /shop
EXPOSE 8080
ENTRYPOINT ["/shop"]

FROM ${JENKINS_IMAGE} AS jenkins
COPY --chown=jenkins:jenkins deploy/compose/jenkins/plugins.txt /usr/share/jenkins/ref/plugins.txt
RUN jenkins-plugin-cli --plugin-file /usr/share/jenkins/ref/plugins.txt
# .override: the copy in the volume is replaced when the image has a newer one.
COPY --chown=jenkins:jenkins deploy/compose/jenkins/init.groovy.d/token.groovy /usr/share/jenkins/ref/init.groovy.d/token.groovy.override
COPY --from=build /out/gatewarden /out/shop /usr/local/bin/
# The pipelines and the shared library as git repositories, where Jenkins looks for such
# things.
COPY --chown=jenkins:jenkins jenkins/vars /srv/library/jenkins/vars
COPY --chown=jenkins:jenkins jenkins/src /srv/library/jenkins/src
COPY --chown=jenkins:jenkins examples/ci/jenkins/Jenkinsfile.declarative examples/ci/jenkins/Jenkinsfile.rollback /srv/pipelines/
COPY --chown=jenkins:jenkins --chmod=755 deploy/compose/jenkins/deploy.sh deploy/compose/jenkins/rollback.sh /srv/pipelines/
USER root
RUN chown jenkins:jenkins /srv/library /srv/pipelines
USER jenkins
RUN for repository in /srv/library /srv/pipelines; do \
      git -C "$repository" init --quiet --initial-branch main && git -C "$repository" add . && \
      git -C "$repository" -c user.name=shop -c user.email=shop@example.org commit --quiet --message shop || exit 1; \
    done
