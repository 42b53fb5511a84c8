package gatewarden.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import groovy.lang.Binding;
import groovy.lang.Closure;
import groovy.lang.GroovyObjectSupport;
import groovy.lang.GroovyShell;
import groovy.lang.MissingMethodException;
import groovy.lang.Script;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.codehaus.groovy.control.CompilationUnit;
import org.codehaus.groovy.control.CompilerConfiguration;
import org.codehaus.groovy.control.Phases;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** The scripts that the Jenkins of deploy/compose runs when it starts. */
class ComposeScriptsTest {
    private static final Path FOLDER = Path.of("../deploy/compose/jenkins");

    /** What Job DSL 1.95 has in each block, among what is used here; disableConcurrentBuilds is of the plugin workflow-job. */
    private static final Map<String, List<String>> BLOCKS = Map.ofEntries(
            Map.entry("", List.of("folder", "pipelineJob")),
            Map.entry("folder", List.of("description", "displayName")),
            Map.entry("pipelineJob", List.of("description", "displayName", "parameters", "properties", "logRotator", "definition")),
            Map.entry("parameters", List.of("stringParam", "textParam", "booleanParam", "choiceParam")),
            Map.entry("properties", List.of("disableConcurrentBuilds")),
            Map.entry("disableConcurrentBuilds", List.of("abortPrevious")),
            Map.entry("logRotator", List.of("daysToKeep", "numToKeep", "artifactDaysToKeep", "artifactNumToKeep")),
            Map.entry("definition", List.of("cps", "cpsScm")),
            Map.entry("cpsScm", List.of("scm", "scriptPath", "lightweight")),
            Map.entry("scm", List.of("git")),
            Map.entry("git", List.of("remote", "branch", "branches", "extensions")),
            Map.entry("remote", List.of("url", "name", "credentials", "refspec")));

    /** A block of the script: it knows its methods and notes what it is told. */
    private static class Block extends GroovyObjectSupport {
        private final String name;
        private final String path;
        private final List<String> told;

        Block(String name, String path, List<String> told) {
            this.name = name;
            this.path = path;
            this.told = told;
        }

        @Override
        public Object invokeMethod(String method, Object arguments) {
            if (!BLOCKS.getOrDefault(name, List.of()).contains(method)) {
                throw new MissingMethodException(method, Block.class, (Object[]) arguments);
            }
            StringBuilder at = new StringBuilder(path).append('/').append(method);
            for (Object argument : (Object[]) arguments) {
                if (argument instanceof Closure<?> block) {
                    block.setDelegate(new Block(method, at.toString(), told));
                    block.setResolveStrategy(Closure.DELEGATE_ONLY);
                    block.call();
                } else {
                    at.append(' ').append(argument);
                }
            }
            told.add(at.toString());
            return null;
        }
    }

    /** What a script is made into: it is the outermost block. */
    public abstract static class Outermost extends Script {
        @Override
        public Object invokeMethod(String name, Object arguments) {
            return ((Block) getBinding().getVariable("outermost")).invokeMethod(name, arguments);
        }
    }

    private static List<String> run(String script) {
        List<String> told = new ArrayList<>();
        CompilerConfiguration configuration = new CompilerConfiguration();
        configuration.setScriptBaseClass(Outermost.class.getName());
        Binding binding = new Binding(Map.of("outermost", new Block("", "", told)));
        new GroovyShell(ComposeScriptsTest.class.getClassLoader(), binding, configuration).evaluate(script);
        return told;
    }

    @Test
    @DisplayName("the job script declares both jobs, with what the guard and the story need")
    void jobs() throws Exception {
        String script = Files.readString(FOLDER.resolve("casc/jobs/shop.groovy"));
        List<String> told = run(script);
        assertEquals(
                List.of("/folder shop", "/pipelineJob shop/orders-deploy", "/pipelineJob shop/orders-rollback"),
                told.stream().filter(t -> t.lastIndexOf('/') == 0 || t.startsWith("/pipelineJob shop/") && t.split("/").length == 3).toList());
        for (String want : List.of(
                "/pipelineJob shop/orders-deploy/parameters/stringParam VERSION v2 what to release",
                "/pipelineJob shop/orders-rollback/parameters/stringParam GATEWARDEN_ACTION  set by gatewarden",
                "/pipelineJob shop/orders-rollback/parameters/stringParam SERVICE  what to roll back",
                "/pipelineJob shop/orders-rollback/properties/disableConcurrentBuilds/abortPrevious false",
                "/pipelineJob shop/orders-rollback/definition/cpsScm/scriptPath Jenkinsfile.rollback",
                "/pipelineJob shop/orders-rollback/definition/cpsScm/scm/git/remote/url file:///srv/pipelines")) {
            assertEquals(1, told.stream().filter(want::equals).count(), want + " in " + String.join("\n", told));
        }
        assertThrows(MissingMethodException.class, () -> run(script.replace("numToKeep", "keepNumber")));
    }

    @Test
    @DisplayName("the script that gives the guard its token is Groovy")
    void token() throws Exception {
        CompilationUnit unit = new CompilationUnit();
        unit.addSource(FOLDER.resolve("init.groovy.d/token.groovy").toFile());
        unit.compile(Phases.CONVERSION); // not further: Jenkins' own classes are not here
        assertEquals(
                List.of("hudson.model.User", "jenkins.security.ApiTokenProperty"),
                unit.getFirstClassNode().getModule().getImports().stream().map(i -> i.getType().getName()).sorted().toList());
    }
}
