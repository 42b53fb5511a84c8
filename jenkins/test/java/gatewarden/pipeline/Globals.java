package gatewarden.pipeline;

import groovy.lang.GroovyObjectSupport;
import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.Map;

/** The variables env, params and currentBuild of a pipeline. They hold nothing: what they show is the build's. */
final class Globals {
    private Globals() {}

    static final class Env extends GroovyObjectSupport implements Serializable {
        @Override
        public Object getProperty(String name) {
            return Build.current().variable(name);
        }

        @Override
        public void setProperty(String name, Object value) {
            Build.current().environment.put(name, String.valueOf(value));
        }
    }

    static final class Params extends GroovyObjectSupport implements Serializable {
        @Override
        public Object getProperty(String name) {
            return Build.current().parameters.get(name);
        }
    }

    /** currentBuild, with what Jenkins' RunWrapper shows to a pipeline. */
    public static final class Current implements Serializable {
        public String getDescription() {
            return Build.current().description;
        }

        public void setDescription(String text) {
            Build.current().description = text;
        }

        public String getResult() {
            return Build.current().ownResult();
        }

        public String getCurrentResult() {
            return Build.current().result();
        }

        public void setResult(String result) {
            Build.current().worsen(result);
        }

        public long getDuration() {
            return Build.current().clock;
        }

        public int getNumber() {
            return Build.current().number;
        }

        public Earlier getPreviousBuild() {
            return Build.current().previous;
        }
    }

    /** An earlier build of the job. */
    public static final class Earlier implements Serializable {
        private final int number;
        private final String result;
        private final Map<String, String> variables;
        private final Earlier previous;

        Earlier(int number, String result, Map<String, String> variables, Earlier previous) {
            this.number = number;
            this.result = result;
            this.variables = new LinkedHashMap<>(variables);
            this.previous = previous;
        }

        public int getNumber() {
            return number;
        }

        /** null while it runs. */
        public String getResult() {
            return result;
        }

        /** What was set on env, parameters not among it, as in Jenkins. */
        public Map<String, String> getBuildVariables() {
            return variables;
        }

        public Earlier getPreviousBuild() {
            return previous;
        }
    }
}
