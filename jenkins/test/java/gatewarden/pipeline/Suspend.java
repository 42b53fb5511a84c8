package gatewarden.pipeline;

import com.cloudbees.groovy.cps.Continuable;
import java.io.Serializable;
import java.util.Map;

/** Where a pipeline hands over to Jenkins: it stops, is saved, and goes on with the step's result. */
public final class Suspend {
    private Suspend() {}

    /** A step that the pipeline waits for. */
    public record Call(String name, Map<String, Object> args) implements Serializable {}

    /** Leaves the pipeline; what the step gives is what this returns to it. */
    public static Object step(String name, Map<String, Object> args) {
        return Continuable.suspend(name, new Call(name, args));
    }

    /** A global variable, as a property of a script would be. */
    public static Object global(String name) {
        return Build.current().global(name);
    }

    /** The build's result so far, as the conditions of post call it. */
    public static String result() {
        return Build.current().result().toLowerCase(java.util.Locale.ROOT);
    }
}
