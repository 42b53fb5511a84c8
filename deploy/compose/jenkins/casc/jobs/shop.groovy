// Job DSL. The parameters are declared here although the Jenkinsfiles declare them, too:
// Jenkins would know those only after a first run, and refuse the guard's until then.
folder('shop')

pipelineJob('shop/orders-deploy') {
  description('Releases orders: a canary, the gate, everywhere. VERSION v2-broken fails, v2-slow is slow.')
  parameters {
    stringParam('VERSION', 'v2', 'what to release')
  }
  properties {
    disableConcurrentBuilds { abortPrevious(false) }
  }
  logRotator { numToKeep(100) }
  definition {
    cpsScm {
      scm {
        git {
          remote { url('file:///srv/pipelines') }
          branch('main')
        }
      }
      scriptPath('Jenkinsfile.declarative')
    }
  }
}

pipelineJob('shop/orders-rollback') {
  description('Puts the version in use back. gatewarden runs it.')
  parameters {
    stringParam('GATEWARDEN_ACTION', '', 'set by gatewarden')
    stringParam('SERVICE', '', 'what to roll back')
  }
  properties {
    disableConcurrentBuilds { abortPrevious(false) }
  }
  logRotator { numToKeep(100) }
  definition {
    cpsScm {
      scm {
        git {
          remote { url('file:///srv/pipelines') }
          branch('main')
        }
      }
      scriptPath('Jenkinsfile.rollback')
    }
  }
}
