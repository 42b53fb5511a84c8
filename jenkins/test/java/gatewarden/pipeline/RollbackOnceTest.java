package gatewarden.pipeline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** rollbackOnce, in builds with a past. */
class RollbackOnceTest {
    private static final String JENKINSFILE = "rollbackOnce { echo 'rolling back' }";

    @TempDir
    Path dir;

    Build build;

    @BeforeEach
    void start() throws Exception {
        build = new Build(dir);
        build.parameters.put("GATEWARDEN_ACTION", "a1");
    }

    private static Globals.Earlier earlier(int number, String result, Globals.Earlier previous, String... variables) {
        Map<String, String> set = variables.length == 0 ? Map.of() : Map.of(variables[0], variables[1]);
        return new Globals.Earlier(number, result, set, previous);
    }

    @Test
    @DisplayName("the first build of an action rolls back, and says so to later ones")
    void first() throws Throwable {
        build.previous = earlier(16, "SUCCESS", null, "GATEWARDEN_ACTION_DONE", "another");
        assertEquals(true, build.run(JENKINSFILE));
        assertTrue(build.log.contains("rolling back"));
        assertEquals("a1", build.environment.get("GATEWARDEN_ACTION_DONE"));
    }

    @Test
    @DisplayName("a later build of the action has nothing to do, and is a success all the same")
    void second() throws Throwable {
        build.previous = earlier(16, "FAILURE", earlier(15, "SUCCESS", null, "GATEWARDEN_ACTION_DONE", "a1"));
        assertEquals(false, build.run(JENKINSFILE));
        assertEquals("rollbackOnce: build #15 has done action a1; nothing to do", build.log.get(0));
        assertEquals("already done by #15", build.description);
        assertEquals("SUCCESS", build.result());
        assertEquals("a1", build.environment.get("GATEWARDEN_ACTION_DONE"), "a third build need not look further back");
    }

    @Test
    @DisplayName("a build that failed before the end of its rollback has not done it")
    void failed() throws Throwable {
        build.previous = earlier(16, "FAILURE", null, "GATEWARDEN_ACTION_AT", "a1");
        assertEquals(true, build.run(JENKINSFILE));
        Throwable e = assertThrows(IOException.class, () -> build.run("rollbackOnce(action: 'a2') { error 'no' }"));
        assertEquals("no", e.getMessage());
        assertEquals("a1", build.environment.get("GATEWARDEN_ACTION_DONE"));
    }

    @Test
    @DisplayName("one that is at it is not overtaken")
    void running() {
        build.previous = earlier(16, null, null, "GATEWARDEN_ACTION_AT", "a1");
        Throwable e = assertThrows(IOException.class, () -> build.run(JENKINSFILE));
        assertTrue(e.getMessage().contains("build #16 is at action a1 already"), e.getMessage());
    }

    @Test
    @DisplayName("without an action a person started it, and it runs")
    void byHand() throws Throwable {
        build.parameters.put("GATEWARDEN_ACTION", "");
        build.previous = earlier(16, "SUCCESS", null, "GATEWARDEN_ACTION_DONE", "");
        assertEquals(true, build.run(JENKINSFILE));
        assertEquals(null, build.environment.get("GATEWARDEN_ACTION_DONE"));
    }

    @Test
    @DisplayName("it looks back only so far")
    void back() throws Throwable {
        build.previous = earlier(16, "SUCCESS", earlier(15, "SUCCESS", null, "GATEWARDEN_ACTION_DONE", "a1"));
        assertEquals(true, build.run("rollbackOnce(back: 1) { echo 'rolling back' }"));
    }
}
