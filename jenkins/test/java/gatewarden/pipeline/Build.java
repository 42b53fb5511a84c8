package gatewarden.pipeline;

import com.cloudbees.groovy.cps.Continuable;
import com.cloudbees.groovy.cps.CpsTransformer;
import com.cloudbees.groovy.cps.NonCPS;
import com.cloudbees.groovy.cps.ObjectInputStreamWithLoader;
import com.cloudbees.groovy.cps.Outcome;
import com.cloudbees.groovy.cps.impl.CpsCallableInvocation;
import groovy.lang.Binding;
import groovy.lang.Closure;
import groovy.lang.GroovyClassLoader;
import groovy.lang.GroovyShell;
import groovy.lang.Script;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.UncheckedIOException;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
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

    private static final GroovyClassLoader LIBRARY = library();
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
    private final List<Branch> branches = new ArrayList<>();
    /** The one that is at work. */
    private Branch branch;
    private final Map<String, Object> globals = Map.of("env", new Globals.Env(), "params", new Globals.Params(), "currentBuild", new Globals.Current());
    private String result;

    Build(Path workspace) throws Exception {
        steps = new Steps(this, workspace);
        shell = new GroovyShell(LIBRARY, new Binding(), transformed());
        blocks = LIBRARY.loadClass("Blocks").getDeclaredConstructor().newInstance();
    }

    private static CompilerConfiguration transformed() {
        CompilerConfiguration config = new CompilerConfiguration();
        config.setScriptBaseClass(PipelineScript.class.getName());
        config.addCompilationCustomizers(new ImportCustomizer().addImports(NonCPS.class.getName(), Library.class.getName()), new CpsTransformer());
        return config;
    }

    /** Compiles the library, and what stands in for steps with a body. */
    private static GroovyClassLoader library() {
        GroovyClassLoader loader = new GroovyClassLoader(Build.class.getClassLoader(), transformed());
        try {
            for (String folder : List.of("src", "vars", "test/groovy")) {
                loader.addURL(new File(folder).toURI().toURL());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return loader;
    }

    /** Runs a Jenkinsfile to its end and returns what it returns; what it throws is thrown. */
    Object run(String jenkinsfile) throws Throwable {
        CURRENT.set(this);
        try {
            Branch main = new Branch(null, "", new Continuable(shell.parse(jenkinsfile, "WorkflowScript.groovy")));
            branches.add(main);
            while (main.outcome == null) {
                advance();
            }
            return main.outcome.replay();
        } catch (FlowInterruptedException e) {
            worsen("ABORTED");
            throw e;
        } catch (Throwable e) {
            worsen("FAILURE");
            throw e;
        } finally {
            branches.clear();
            CURRENT.remove();
        }
    }

    Object run(Path jenkinsfile) throws Throwable {
        return run(Files.readString(jenkinsfile));
    }

    /** Lets one branch go on to its next step: one that can, in their order, else the one that wakes up first. */
    private void advance() throws Throwable {
        Branch b = branches.stream().filter(x -> x.next != null).findFirst().orElse(null);
        if (b == null) {
            b = branches.stream().filter(x -> x.wakeAt >= 0).min(Comparator.comparingLong(x -> x.wakeAt)).orElseThrow();
            if (b.wakeAt == Long.MAX_VALUE) {
                throw new AssertionError("the build waits for ever");
            }
            clock = Math.max(clock, b.wakeAt);
            b.wake();
        }
        branch = b;
        Outcome next = b.next;
        b.next = null;
        branches.remove(b);
        branches.add(b); // the others first, the next time
        Outcome left = b.program.run0(next, CATEGORIES);
        if (b.program.isResumable()) {
            Suspend.Call call = reload((Suspend.Call) left.replay());
            if (call.name().equals("parallel")) {
                fork(b, call.args());
            } else {
                perform(b, call);
            }
        } else {
            end(b, left);
        }
    }

    private void perform(Branch b, Suspend.Call call) {
        try {
            Object result = steps.perform(call.name(), call.args());
            if (result instanceof Steps.Waiting waiting) {
                b.await(waiting);
            } else {
                b.next = new Outcome(result, null);
            }
        } catch (Exception e) {
            b.next = new Outcome(null, e);
        }
    }

    /** Starts the branches of parallel. */
    private void fork(Branch parent, Map<String, Object> args) {
        parent.failFast = Boolean.TRUE.equals(args.get("failFast"));
        parent.results = new LinkedHashMap<>();
        parent.failure = null;
        args.forEach((name, body) -> {
            if (body instanceof Closure<?> closure) {
                try {
                    closure.call();
                    throw new AssertionError(name + " is not transformed");
                } catch (CpsCallableInvocation body0) {
                    branches.add(new Branch(parent, name, new Continuable(body0.asBlock())));
                }
            }
        });
    }

    /** Ends a branch; with the last of them its parent goes on. */
    private void end(Branch b, Outcome outcome) {
        b.outcome = outcome;
        branches.remove(b);
        Branch parent = b.parent;
        if (parent == null) {
            return;
        }
        if (outcome.isSuccess()) {
            parent.results.put(b.name, outcome.getNormal());
        } else if (parent.failure == null) {
            parent.failure = outcome.getAbnormal();
            if (parent.failFast) {
                branches.stream().filter(x -> x.parent == parent && x.wakeAt >= 0).forEach(x -> x.interrupt(new FlowInterruptedException(0)));
            }
        }
        if (branches.stream().noneMatch(x -> x.parent == parent)) {
            parent.next = new Outcome(parent.failure == null ? parent.results : null, parent.failure);
        }
    }

    /** Saves the program with all of its branches, and reads it back. */
    @SuppressWarnings("unchecked")
    private Suspend.Call reload(Suspend.Call call) throws IOException, ClassNotFoundException {
        saved++;
        List<Object> whole = new ArrayList<>(branches.stream().map(b -> b.program).toList());
        whole.add(call);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(whole);
        }
        try (ObjectInputStream in = new ObjectInputStreamWithLoader(new ByteArrayInputStream(bytes.toByteArray()), shell.getClassLoader())) {
            whole = (List<Object>) in.readObject();
        }
        for (int i = 0; i < branches.size(); i++) {
            branches.get(i).program = (Continuable) whole.get(i);
        }
        return (Suspend.Call) whole.get(branches.size());
    }

    /** A branch of parallel, or the whole: where it is, and what it waits for. */
    static final class Branch {
        final Branch parent;
        final String name;
        final Deque<Map<String, String>> scopes;
        final Deque<Steps.Timeout> timeouts;
        Continuable program;
        /** What it goes on with; null while it waits. */
        Outcome next = new Outcome(null, null);
        /** How it ended. */
        Outcome outcome;
        /** The clock when its wait is over, -1 when it does not wait for the clock. */
        long wakeAt = -1;
        /** What its parallel has so far. */
        Map<String, Object> results;
        Throwable failure;
        boolean failFast;

        private Supplier<Outcome> onWake;

        Branch(Branch parent, String name, Continuable program) {
            this.parent = parent;
            this.name = name;
            this.program = program;
            scopes = new ArrayDeque<>(parent == null ? List.of() : parent.scopes);
            timeouts = new ArrayDeque<>(parent == null ? List.of() : parent.timeouts);
        }

        /** Waits for the step, up to the first timeout around it. */
        void await(Steps.Waiting waiting) {
            Steps.Timeout first = timeouts.stream().min(Comparator.comparingLong(Steps.Timeout::at)).orElse(null);
            if (first != null && first.at() < waiting.until()) {
                wakeAt = first.at();
                onWake = () -> new Outcome(null, new FlowInterruptedException(first.id()));
            } else {
                wakeAt = waiting.until();
                onWake = waiting.result();
            }
        }

        void wake() {
            next = onWake.get();
            wakeAt = -1;
        }

        void interrupt(Throwable why) {
            next = new Outcome(null, why);
            wakeAt = -1;
        }
    }

    /** A method that a script does not have: a step of the library, a step with a body, or a step. */
    @SuppressWarnings("unchecked")
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
        if (name.equals("parallel")) {
            return Suspend.step(name, new LinkedHashMap<>((Map<String, Object>) args[0]));
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
            Object var = LIBRARY.loadClass(name).getDeclaredConstructor().newInstance();
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
        for (Map<String, String> scope : branch.scopes) {
            if (scope.containsKey(name)) {
                return scope.get(name);
            }
        }
        return environment.get(name);
    }

    /** All of the environment, for a process. */
    Map<String, String> variables() {
        Map<String, String> all = new LinkedHashMap<>(environment);
        branch.scopes.descendingIterator().forEachRemaining(all::putAll);
        return all;
    }

    /** The blocks with variables, and those with a timeout, that the branch at work is in; the innermost first. */
    Deque<Map<String, String>> scopes() {
        return branch.scopes;
    }

    Deque<Steps.Timeout> timeouts() {
        return branch.timeouts;
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
