package gatewarden.pipeline;

import com.cloudbees.groovy.cps.Outcome;
import java.io.IOException;
import java.io.Serializable;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException;

/**
 * What the steps of Jenkins do, as far as pipelines of this repository use them. A step takes the parameters that the
 * plugin's has, and no others. Shell scripts really run; time does not pass but by sleeping and waiting.
 */
final class Steps {
    /** A step's parameters; the first is the one that can be given without its name. */
    private static final Map<String, List<String>> PARAMETERS = new LinkedHashMap<>();
    /** What is written like a step, and is only a description of something: of a credential, of a parameter. */
    private static final List<String> SYMBOLS = List.of("string", "file", "choice", "text", "parameters");

    static {
        parameters("echo", "message");
        parameters("error", "message");
        parameters("unstable", "message");
        parameters("sh", "script", "returnStatus", "returnStdout", "label", "encoding");
        parameters("isUnix");
        parameters("pwd", "tmp");
        parameters("fileExists", "file");
        parameters("readFile", "file", "encoding");
        parameters("writeFile", "file", "text", "encoding");
        parameters("junit", "testResults", "allowEmptyResults", "skipMarkingBuildUnstable", "keepProperties");
        parameters("archiveArtifacts", "artifacts", "allowEmptyArchive", "fingerprint", "onlyIfSuccessful");
        parameters("sleep", "time", "unit");
        parameters("httpRequest", "url", "httpMode", "acceptType", "contentType", "requestBody", "customHeaders", "authentication",
                "timeout", "validResponseCodes", "quiet", "consoleLogResponseBody");
        parameters("registerWebhook", "token", "authToken");
        parameters("waitForWebhook", "webhookToken", "withHeaders");
        parameters("input", "message", "id", "ok", "submitter", "submitterParameter", "parameters");
        parameters("milestone", "ordinal", "label");
        parameters("checkout", "scm");
        parameters("build", "job", "parameters", "wait", "propagate");
        parameters("properties", "properties");
    }

    private static void parameters(String step, String... names) {
        PARAMETERS.put(step, List.of(names));
    }

    /** A webhook, as registerWebhook gives it. */
    public record Hook(String url, String authToken) implements Serializable {
        public String getUrl() {
            return url;
        }
    }

    /** An answer of httpRequest. Not to be saved: a step must not hold it over another one. */
    public record Response(int status, String content) {
        public int getStatus() {
            return status;
        }

        public String getContent() {
            return content;
        }
    }

    /** A timeout block, and the clock when it is over. */
    record Timeout(int id, long at) {}

    /** A step that is not over at once: until which clock, and what it gives then. */
    record Waiting(long until, Supplier<Outcome> result) {}

    /** Everything that was done, by the step's name. */
    final Map<String, List<Map<String, Object>>> done = new LinkedHashMap<>();
    final Map<String, String> secrets = new LinkedHashMap<>();
    /** Where requests go. */
    Function<Map<String, Object>, Response> guard = request -> new Response(408, "ConnectException as 408 Request Timeout");
    /** The clock of the next call of the webhook; -1 when there is none. */
    long hookAt = -1;
    /** When a person answers, and what. */
    long personAt = Long.MAX_VALUE;
    Function<Map<String, Object>, Object> person = question -> {
        throw new AssertionError("nobody answers: " + question);
    };
    /** A step that a person stops the build in. */
    Predicate<Suspend.Call> abortIn = call -> false;
    boolean unix = true;
    /** Steps that waited while an executor was held. */
    final List<String> heldWhileWaiting = new ArrayList<>();

    private final Build build;
    private final Path workspace;
    private int lastTimeout;

    Steps(Build build, Path workspace) {
        this.build = build;
        this.workspace = workspace;
    }

    List<Map<String, Object>> done(String step) {
        return done.getOrDefault(step, List.of());
    }

    /** A step's arguments by name, or, for what only describes something, the description. */
    Map<String, Object> arguments(String step, Object[] args) {
        List<String> known = PARAMETERS.get(step);
        if (known == null) {
            throw new NoSuchMethodError("No such DSL method '" + step + "' found among steps " + PARAMETERS.keySet());
        }
        Map<String, Object> named = new LinkedHashMap<>();
        if (args.length == 1 && args[0] instanceof Map<?, ?> given) {
            given.forEach((k, v) -> named.put(k.toString(), plain(v)));
        } else if (args.length == 1 && !known.isEmpty()) {
            named.put(known.get(0), plain(args[0]));
        } else if (args.length != 0) {
            throw new IllegalArgumentException("Expected named arguments of " + step + " but got " + List.of(args));
        }
        for (String name : named.keySet()) {
            if (!known.contains(name)) {
                throw new IllegalArgumentException("the step " + step + " has no parameter " + name);
            }
        }
        return named;
    }

    boolean isSymbol(String name) {
        return SYMBOLS.contains(name);
    }

    private static Object plain(Object value) {
        return value instanceof CharSequence ? value.toString() : value;
    }

    Object perform(String step, Map<String, Object> args) throws Exception {
        done.computeIfAbsent(step, k -> new ArrayList<>()).add(args);
        boolean abort = abortIn.test(new Suspend.Call(step, args));
        if (abort && !step.equals("sh")) {
            throw new FlowInterruptedException(0);
        }
        if (List.of("sleep", "waitForWebhook", "input").contains(step) && build.variable("WORKSPACE") != null) {
            heldWhileWaiting.add(step);
        }
        switch (step) {
            case "echo" -> build.log.add(text(args, "message"));
            case "error" -> throw new IOException(text(args, "message"));
            case "unstable" -> {
                build.log.add("WARNING: " + text(args, "message"));
                build.worsen("UNSTABLE");
            }
            case "caught" -> {
                build.log.add("ERROR: " + text(args, "message"));
                build.worsen(text(args, "result"));
            }
            case "failed" -> build.worsen(text(args, "result"));
            case "sh" -> {
                return shell(args, abort);
            }
            case "isUnix" -> {
                return unix;
            }
            case "pwd" -> {
                return workspace + (Boolean.TRUE.equals(args.get("tmp")) ? "@tmp" : "");
            }
            case "fileExists" -> {
                return Files.exists(here().resolve(text(args, "file")));
            }
            case "readFile" -> {
                return Files.readString(here().resolve(text(args, "file")));
            }
            case "writeFile" -> Files.writeString(here().resolve(text(args, "file")), text(args, "text"));
            case "junit" -> found(text(args, "testResults"), Boolean.TRUE.equals(args.get("allowEmptyResults")));
            case "archiveArtifacts" -> found(text(args, "artifacts"), Boolean.TRUE.equals(args.get("allowEmptyArchive")));
            case "node" -> {
                Files.createDirectories(Path.of(workspace + "@tmp"));
                return workspace.toString();
            }
            case "enter" -> build.scopes().push(strings(args.get("variables")));
            case "leave" -> build.scopes().pop();
            case "withCredentials" -> {
                return credentials((List<?>) args.get("bindings"));
            }
            case "timeout" -> {
                build.timeouts().push(new Timeout(++lastTimeout, build.clock + millis(args)));
                return lastTimeout;
            }
            case "timeoutEnd" -> build.timeouts().removeIf(t -> t.id == (int) args.get("id"));
            case "sleep" -> {
                return new Waiting(build.clock + millis(args), () -> new Outcome(null, null));
            }
            case "httpRequest" -> {
                build.clock += 100;
                return guard.apply(args);
            }
            case "registerWebhook" -> {
                return new Hook("http://jenkins:8080/webhook-step/c0ffee", text(args, "authToken"));
            }
            case "waitForWebhook" -> {
                return new Waiting(hookAt < 0 ? Long.MAX_VALUE : Math.max(hookAt, build.clock), () -> {
                    hookAt = -1;
                    return new Outcome("{}", null);
                });
            }
            case "input" -> {
                return new Waiting(personAt, () -> new Outcome(person.apply(args), null));
            }
            case "milestone", "checkout", "build", "properties" -> build.log.add(step + " " + args);
            default -> throw new NoSuchMethodError("No such DSL method '" + step + "'");
        }
        return null;
    }

    private static long millis(Map<String, Object> args) {
        long unit = Map.of("SECONDS", 1000L, "MINUTES", 60_000L, "HOURS", 3_600_000L).get(args.getOrDefault("unit", "SECONDS").toString());
        return ((Number) args.get("time")).longValue() * unit;
    }

    private Object shell(Map<String, Object> args, boolean abort) throws Exception {
        if (build.variable("WORKSPACE") == null) {
            throw new IllegalStateException("Required context class hudson.FilePath is missing");
        }
        Path script = Files.createTempFile(Path.of(workspace + "@tmp"), "script", ".sh");
        Path output = Files.createTempFile(Path.of(workspace + "@tmp"), "output", ".txt");
        Files.writeString(script, text(args, "script"));
        boolean wantsOutput = Boolean.TRUE.equals(args.get("returnStdout"));
        ProcessBuilder pb = new ProcessBuilder("/bin/sh", "-xe", script.toString()).directory(here().toFile());
        pb.redirectOutput(output.toFile());
        if (!wantsOutput) {
            pb.redirectErrorStream(true);
        } else {
            pb.redirectError(ProcessBuilder.Redirect.DISCARD);
        }
        pb.environment().putAll(build.variables());
        pb.environment().merge("PATH", Path.of("test/fake").toAbsolutePath() + ":", (old, fake) -> fake + old);
        Process process = pb.start();
        if (abort) {
            while (!Files.exists(Path.of(build.variable("FAKE_DIR"), "waiting"))) {
                if (!process.isAlive()) {
                    throw new AssertionError("the script has ended: " + Files.readString(output));
                }
                Thread.onSpinWait();
            }
            process.destroy();
        }
        int code = process.waitFor();
        String printed = Files.readString(output);
        build.log.addAll(printed.lines().toList());
        if (abort) {
            throw new FlowInterruptedException(0);
        }
        if (Boolean.TRUE.equals(args.get("returnStatus"))) {
            return code;
        }
        if (code != 0) {
            throw new IOException("script returned exit code " + code);
        }
        return wantsOutput ? printed : null;
    }

    private Path here() {
        String pwd = build.variable("PWD");
        return pwd == null ? workspace : workspace.resolve(pwd);
    }

    private Map<String, String> credentials(List<?> bindings) throws IOException {
        Map<String, String> variables = new LinkedHashMap<>();
        for (Object o : bindings) {
            Map<?, ?> binding = (Map<?, ?>) o;
            String secret = secrets.get(String.valueOf(binding.get("credentialsId")));
            if (secret == null) {
                throw new IOException("Could not find credentials entry with ID '" + binding.get("credentialsId") + "'");
            }
            variables.put(binding.get("variable").toString(), secret);
        }
        return variables;
    }

    private void found(String pattern, boolean mayBeEmpty) throws IOException {
        PathMatcher matcher = FileSystems.getDefault().getPathMatcher("glob:" + pattern);
        try (Stream<Path> files = Files.walk(workspace)) {
            boolean any = files.filter(Files::isRegularFile).anyMatch(f -> matcher.matches(workspace.relativize(f)));
            if (!any && !mayBeEmpty) {
                throw new IOException("nothing matches " + pattern);
            }
        }
    }

    private static String text(Map<String, Object> args, String name) {
        Object value = args.get(name);
        return value == null ? null : value.toString();
    }

    private static Map<String, String> strings(Object map) {
        Map<String, String> all = new LinkedHashMap<>();
        ((Map<?, ?>) map).forEach((k, v) -> all.put(k.toString(), String.valueOf(v)));
        return all;
    }
}
