import gatewarden.pipeline.Suspend
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** The steps of Jenkins that take a body. They are transformed as pipelines are, so a body can be left and come back to. */
class Blocks implements Serializable {
    def node(String label = '', Closure body) {
        within([WORKSPACE: Suspend.step('node', [label: label]), NODE_NAME: 'agent-1'], body)
    }

    def stage(String name, Closure body) {
        Suspend.step('echo', [message: "[Pipeline] stage (${name})".toString()])
        within([STAGE_NAME: name], body)
    }

    def withEnv(List<String> settings, Closure body) {
        Map variables = [:]
        for (setting in settings) {
            variables[setting.substring(0, setting.indexOf('='))] = setting.substring(setting.indexOf('=') + 1)
        }
        within(variables, body)
    }

    def withCredentials(List bindings, Closure body) {
        within(Suspend.step('withCredentials', [bindings: bindings]), body)
    }

    def dir(String path, Closure body) {
        within([PWD: path], body)
    }

    def timeout(Map options, Closure body) {
        int id = Suspend.step('timeout', options)
        try {
            return body()
        } catch (FlowInterruptedException stopped) {
            if (stopped.timeout == id) {
                stopped.actualInterruption = false
            }
            throw stopped
        } finally {
            Suspend.step('timeoutEnd', [id: id])
        }
    }

    def retry(Map options, Closure body) {
        int left = options.count
        while (true) {
            try {
                return body()
            } catch (Exception failed) {
                left--
                if (left < 1) {
                    throw failed
                }
            }
        }
    }

    def retry(int count, Closure body) {
        retry([count: count], body)
    }

    def catchError(Map options = [:], Closure body) {
        try {
            body()
        } catch (Exception failed) {
            Suspend.step('caught', [result: options.buildResult ?: 'FAILURE', message: failed.message])
        }
    }

    def script(Closure body) {
        body()
    }

    private within(Map variables, Closure body) {
        Suspend.step('enter', [variables: variables])
        try {
            return body()
        } finally {
            Suspend.step('leave', [:])
        }
    }

    /** Declarative: reads the directives, then runs them. A directive that is not known has no method, and fails. */
    def pipeline(Closure body) {
        Declared all = new Declared()
        all.read(body)
        new Runner(steps: all.script(body)).run(all)
    }
}

/** What stands in a pipeline or in a stage. */
class Declared implements Serializable {
    final String any = 'any', none = 'none'
    String name, agent
    Map inputOf
    Closure stepsBody, environmentBody, whenBody, postBody, inputBody
    List<Declared> stages = [], branches = []

    void read(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
    }

    /** The script that a block of a Jenkinsfile is written in. */
    def script(Closure body) {
        def owner = body.owner
        while (owner instanceof Closure) {
            owner = owner.owner
        }
        return owner
    }

    def agent(String which) { agent = which }

    def agent(Closure body) { agent = 'label' }

    def options(Closure body) { checked(body, ['timeout', 'disableConcurrentBuilds', 'buildDiscarder', 'logRotator', 'timestamps', 'skipDefaultCheckout', 'retry', 'quietPeriod']) }

    def parameters(Closure body) { checked(body, ['string', 'choice', 'booleanParam', 'text']) }

    def environment(Closure body) { environmentBody = body }

    def when(Closure body) { whenBody = body }

    def post(Closure body) { postBody = body }

    def input(Closure body) { inputBody = body }

    def steps(Closure body) { stepsBody = body }

    def failFast(boolean on) { }

    def stages(Closure body) {
        Stages list = new Stages()
        list.read(body)
        stages = list.all
    }

    def parallel(Closure body) {
        Stages list = new Stages()
        list.read(body)
        branches = list.all
    }

    private checked(Closure body, List<String> known) {
        body.delegate = new Known(names: known)
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
    }
}

/** Directives whose arguments do not matter here, if only they exist. */
class Known implements Serializable {
    List<String> names

    @NonCPS
    def invokeMethod(String name, Object args) {
        if (!names.contains(name)) {
            throw new MissingMethodException(name, Known, args as Object[])
        }
        return name
    }
}

class Stages implements Serializable {
    List<Declared> all = []

    void read(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
    }

    def stage(String name, Closure body) {
        Declared stage = new Declared(name: name)
        stage.read(body)
        all.add(stage)
    }
}

/** Takes down what is assigned in a block of environment or input. */
class Assigned implements Serializable {
    Map values = [:]

    @NonCPS
    void setProperty(String name, Object value) {
        if (name == 'values') {
            this.@values = value
        } else {
            values[name] = value
        }
    }

    @NonCPS
    def getProperty(String name) {
        name == 'values' ? this.@values : Suspend.global(name)
    }

    @NonCPS
    def invokeMethod(String name, Object args) {
        values[name] = (args as List)[0]
    }
}

/** Runs what was declared. */
class Runner implements Serializable {
    def steps

    void run(Declared d) {
        if (d.whenBody != null && !holds(d.whenBody)) {
            Suspend.step('echo', [message: "Stage \"${d.name}\" skipped due to when conditional".toString()])
            return
        }
        Map variables = d.environmentBody == null ? [:] : assigned(d.environmentBody)
        if (d.inputBody != null) {
            Map answers = steps.input(assigned(d.inputBody))
            variables = variables + (answers ?: [:])
        }
        steps.withEnv(variables.collect { k, v -> "${k}=${v}".toString() }) {
            if (d.agent != null && d.agent != 'none') {
                steps.node { withPost(d) }
            } else {
                withPost(d)
            }
        }
    }

    /** What was declared, then post: in the same environment, and on the same agent. */
    private void withPost(Declared d) {
        Throwable failure = null
        try {
            inside(d)
        } catch (Exception failed) {
            failure = failed
            Suspend.step('failed', [result: failed instanceof FlowInterruptedException ? 'ABORTED' : 'FAILURE'])
        }
        if (d.postBody != null) {
            after(d)
        }
        if (failure != null) {
            throw failure
        }
    }

    private void inside(Declared d) {
        if (d.stepsBody != null) {
            own(d.stepsBody)()
        }
        for (stage in d.stages) {
            Declared one = stage
            steps.stage(one.name) { this.run(one) }
        }
        if (!d.branches.isEmpty()) {
            Map all = [:]
            for (branch in d.branches) {
                Declared one = branch
                all[one.name] = { steps.stage(one.name) { this.run(one) } }
            }
            steps.parallel(all)
        }
    }

    private void after(Declared d) {
        Conditions conditions = new Conditions()
        d.postBody.delegate = conditions
        d.postBody.resolveStrategy = Closure.DELEGATE_ONLY
        d.postBody()
        String result = Suspend.result()
        for (name in ['always', result, result == 'success' ? '' : 'unsuccessful', 'cleanup']) {
            if (conditions.bodies[name] != null) {
                own(conditions.bodies[name])()
            }
        }
    }

    private boolean holds(Closure body) {
        Conditions conditions = new Conditions()
        body.delegate = conditions
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
        return own(conditions.bodies.expression)()
    }

    private Map assigned(Closure body) {
        Assigned a = new Assigned()
        body.delegate = a
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
        return a.values
    }

    /** A body of steps, which belongs to the script and not to the directives around it. */
    private Closure own(Closure body) {
        body.delegate = steps
        body.resolveStrategy = Closure.DELEGATE_ONLY
        return body
    }
}

/** The blocks of post, and expression of when. */
class Conditions implements Serializable {
    Map<String, Closure> bodies = [:]

    def always(Closure body) { bodies.always = body }

    def success(Closure body) { bodies.success = body }

    def failure(Closure body) { bodies.failure = body }

    def unstable(Closure body) { bodies.unstable = body }

    def aborted(Closure body) { bodies.aborted = body }

    def unsuccessful(Closure body) { bodies.unsuccessful = body }

    def cleanup(Closure body) { bodies.cleanup = body }

    def expression(Closure body) { bodies.expression = body }
}
