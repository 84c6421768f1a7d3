package capacity

// list is a doubly linked list whose items are fields of its values: adding and removing allocates nothing, and both
// happen for each request.
type list[T any] struct {
	head, tail *item[T]
	n          int
}

type item[T any] struct {
	prev, next *item[T]
	value      *T
}

// first returns the value that was added first; nil if there is none.
func (l *list[T]) first() *T {
	if l.head == nil {
		return nil
	}
	return l.head.value
}

func (l *list[T]) add(i *item[T]) {
	i.prev, i.next = l.tail, nil
	if l.tail == nil {
		l.head = i
	} else {
		l.tail.next = i
	}
	l.tail = i
	l.n++
}

func (l *list[T]) remove(i *item[T]) {
	if i.prev == nil {
		l.head = i.next
	} else {
		i.prev.next = i.next
	}
	if i.next == nil {
		l.tail = i.prev
	} else {
		i.next.prev = i.prev
	}
	i.prev, i.next = nil, nil
	l.n--
}
