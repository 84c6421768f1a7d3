package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// OpenDirectory opens a new spool in a directory that outlives the process, and the spools that earlier processes have left there and nobody
// uses. Two processes, or two configurations in one process, may use the directory at the same time.
func OpenDirectory(base, name string, limit int64) (own *Volume, left []*Volume, err error) {
	if err = os.MkdirAll(base, 0o700); err != nil {
		return nil, nil, fmt.Errorf("opening the directory of spools: %w", err)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the directory of spools: %w", err)
	}
	for _, e := range entries {
		v, err := openLocked(filepath.Join(base, e.Name()), limit)
		switch {
		case errors.Is(err, errInUse):
		case err != nil:
			return nil, nil, errors.Join(err, closeAll(left))
		default:
			left = append(left, v)
		}
	}
	if own, err = openLocked(filepath.Join(base, name), limit); err != nil {
		return nil, nil, errors.Join(err, closeAll(left))
	}
	return own, left, nil
}

func closeAll(list []*Volume) error {
	var errs []error
	for _, v := range list {
		errs = append(errs, v.Close())
	}
	return errors.Join(errs...)
}

// errInUse says that another process, or another part of this one, has a spool.
var errInUse = errors.New("the spool is in use")

// openLocked opens a spool that nobody else has.
func openLocked(dir string, limit int64) (*Volume, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	v, err := OpenVolume(dir, limit)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	v.lock = lock
	return v, nil
}

// Remove closes the spool and removes it, with what is in it.
func (v *Volume) Remove() error {
	if err := os.RemoveAll(v.dir); err != nil {
		return errors.Join(fmt.Errorf("removing the spool: %w", err), v.Close())
	}
	return v.Close()
}
