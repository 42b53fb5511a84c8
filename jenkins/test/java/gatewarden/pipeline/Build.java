package gatewarden.pipeline;

import com.cloudbees.groovy.cps.Continuable;
import com.cloudbees.groovy.cps.CpsTransformer;
import com.cloudbees.groovy.cps.NonCPS;
import com.cloudbees.groovy.cps.ObjectInputStreamWithLoader;
import com.cloudbees.groovy.cps.Outcome;
import groovy.lang.Binding;
import groovy.lang.GroovyClassLoader;
import groovy.lang.GroovyCodeSource;
import groovy.lang.GroovyShell;
import groovy.lang.Script;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.codehaus.groovy.control.CompilerConfiguration;
import org.codehaus.groovy.control.customizers.ImportCustomizer;
import org.codehaus.groovy.runtime.InvokerHelper;
import org.jenkinsci.plugins.workflow.libs.Library;
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException;

/**
 * One build of a pipeline, run as Jenkins runs it: compiled by Jenkins' Groovy and its CPS transformer, left at every
 * step, and there written to bytes and read back, as if the controller were restarted each time. A closure or an object
 * that cannot be saved and is held over a step fails the test. What steps do is in Steps.
 */
final class Build {
    private static final ThreadLocal<Build> CURRENT = new ThreadLocal<>();

    private static final List<Class> CATEGORIES = new ArrayList<>(Continuable.categories);

    static {
        CATEGORIES.add(SavedIterators.class);
    }

    static Build current() {
        return CURRENT.get();
    }

    final Map<String, String> environment = new LinkedHashMap<>(Map.of(
            "BUILD_TAG", "jenkins-shop-orders-17", "BUILD_URL", "http://jenkins:8080/job/shop/job/orders/17/", "BUILD_NUMBER", "17"));
    final Map<String, Object> parameters = new LinkedHashMap<>();
    final List<String> log = new ArrayList<>();
    final Steps steps;
    final int number = 17;
    String description;
    Globals.Earlier previous;
    /** What the build has taken, in milliseconds. */
    long clock;
    /** How often it was saved. */
    int saved;

    private final GroovyShell shell;
    private final Object blocks;
    private final Deque<Map<String, String>> scopes = new ArrayDeque<>();
    private final Map<String, Object> globals = Map.of("env", new Globals.Env(), "params", new Globals.Params(), "currentBuild", new Globals.Current());
    private String result;

    Build(Path workspace) throws Exception {
        steps = new Steps(this, workspace);
        CompilerConfiguration config = new CompilerConfiguration();
        config.setScriptBaseClass(PipelineScript.class.getName());
        config.addCompilationCustomizers(new ImportCustomizer().addImports(NonCPS.class.getName(), Library.class.getName()), new CpsTransformer());
        shell = new GroovyShell(Build.class.getClassLoader(), new Binding(), config);
        GroovyClassLoader loader = shell.getClassLoader();
        loader.addURL(new File("src").toURI().toURL());
        loader.addURL(new File("vars").toURI().toURL());
        blocks = loader.parseClass(new GroovyCodeSource(new File("test/groovy/Blocks.groovy"))).getDeclaredConstructor().newInstance();
    }

    /** Runs a Jenkinsfile to its end and returns what it returns; what it throws is thrown. */
    Object run(String jenkinsfile) throws Throwable {
        CURRENT.set(this);
        try {
            Script script = shell.parse(jenkinsfile, "WorkflowScript.groovy");
            Continuable program = new Continuable(script);
            Outcome next = new Outcome(null, null);
            while (true) {
                next = program.run0(next, CATEGORIES);
                if (!program.isResumable()) {
                    return next.replay();
                }
                program = reload(program);
                next = perform((Suspend.Call) next.replay());
            }
        } catch (FlowInterruptedException e) {
            worsen("ABORTED");
            throw e;
        } catch (Throwable e) {
            worsen("FAILURE");
            throw e;
        } finally {
            CURRENT.remove();
        }
    }

    Object run(Path jenkinsfile) throws Throwable {
        return run(Files.readString(jenkinsfile));
    }

    private Outcome perform(Suspend.Call call) {
        try {
            return new Outcome(steps.perform(call.name(), call.args()), null);
        } catch (Exception e) {
            return new Outcome(null, e);
        }
    }

    /** Saves the program and reads it back. */
    private Continuable reload(Continuable program) throws IOException, ClassNotFoundException {
        saved++;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(program);
        }
        try (ObjectInputStream in = new ObjectInputStreamWithLoader(new ByteArrayInputStream(bytes.toByteArray()), shell.getClassLoader())) {
            return (Continuable) in.readObject();
        }
    }

    /** A method that a script does not have: a step of the library, a step with a body, or a step. */
    Object call(Script script, String name, Object[] args) {
        Object var = library(script, name);
        if (var != null) {
            return InvokerHelper.invokeMethod(var, "call", args);
        }
        if (Arrays.stream(blocks.getClass().getDeclaredMethods()).anyMatch(m -> m.getName().equals(name) && Modifier.isPublic(m.getModifiers()))) {
            return InvokerHelper.invokeMethod(blocks, name, args);
        }
        if (steps.isSymbol(name)) {
            return args[0];
        }
        return Suspend.step(name, steps.arguments(name, args));
    }

    /** The instance of a file of vars that belongs to this script: each script has its own, as in Jenkins. */
    Object library(Script script, String name) {
        Binding binding = script.getBinding();
        if (binding.hasVariable(name)) {
            return binding.getVariable(name);
        }
        if (!new File("vars", name + ".groovy").exists()) {
            return null;
        }
        try {
            Object var = shell.getClassLoader().loadClass(name).getDeclaredConstructor().newInstance();
            binding.setVariable(name, var);
            return var;
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    Object global(String name) {
        return globals.get(name);
    }

    /** A variable of the environment: the innermost block's first, then what the build was given or has set. */
    String variable(String name) {
        for (Map<String, String> scope : scopes) {
            if (scope.containsKey(name)) {
                return scope.get(name);
            }
        }
        return environment.get(name);
    }

    /** All of the environment, for a process. */
    Map<String, String> variables() {
        Map<String, String> all = new LinkedHashMap<>(environment);
        scopes.descendingIterator().forEachRemaining(all::putAll);
        return all;
    }

    void enter(Map<String, String> variables) {
        scopes.push(variables);
    }

    void leave() {
        scopes.pop();
    }

    /** null while nothing has gone wrong. */
    String ownResult() {
        return result;
    }

    String result() {
        return result == null ? "SUCCESS" : result;
    }

    void worsen(String to) {
        List<String> order = List.of("SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED");
        if (!order.contains(to)) {
            throw new IllegalArgumentException("no result: " + to);
        }
        if (order.indexOf(to) > order.indexOf(result())) {
            result = to;
        }
    }
}
