package gatewarden.pipeline;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** A category of Groovy's: gives loops over lists and maps iterators that can be saved, as workflow-cps does. */
public final class SavedIterators {
    private SavedIterators() {}

    public static <E> Iterator<E> iterator(List<E> list) {
        return new Saved<>(new ArrayList<>(list));
    }

    public static <K, V> Iterator<Map.Entry<K, V>> iterator(Map<K, V> map) {
        List<Map.Entry<K, V>> entries = new ArrayList<>();
        map.forEach((k, v) -> entries.add(new java.util.AbstractMap.SimpleImmutableEntry<>(k, v)));
        return new Saved<>(entries);
    }

    private static final class Saved<E> implements Iterator<E>, Serializable {
        private final ArrayList<E> all;
        private int next;

        Saved(List<E> all) {
            this.all = new ArrayList<>(all);
        }

        @Override
        public boolean hasNext() {
            return next < all.size();
        }

        @Override
        public E next() {
            return all.get(next++);
        }
    }
}
