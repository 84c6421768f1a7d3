package check

import "fmt"

// Bounds of a hash's cost. MaxArgon2Work is passes times KiB: at about 1 GiB a second and core, one verification stays within
// about a second.
const (
	MaxArgon2Passes = 16
	MaxArgon2Lanes  = 16
	MaxArgon2Work   = 1 << 20
	MinBcryptCost   = 10
	MaxBcryptCost   = 15
)

// Argon2Passes refuses a number of passes that is out of range.
func Argon2Passes(passes int) error {
	if passes < 1 || passes > MaxArgon2Passes {
		return fmt.Errorf("%d passes are not between 1 and %d", passes, MaxArgon2Passes)
	}
	return nil
}

// Argon2Lanes refuses a parallelism that is out of range.
func Argon2Lanes(lanes int) error {
	if lanes < 1 || lanes > MaxArgon2Lanes {
		return fmt.Errorf("a parallelism of %d is not between 1 and %d", lanes, MaxArgon2Lanes)
	}
	return nil
}

// Argon2Memory refuses, in KiB, less than OWASP's Password Storage Cheat Sheet asks for, (t=1, m=46 MiB), (t=2, m=19 MiB), (t=3,
// m=12 MiB), and more than MaxArgon2Work.
func Argon2Memory(memory, passes int) error {
	least := 12 << 10
	switch passes {
	case 1:
		least = 46 << 10
	case 2:
		least = 19 << 10
	}
	switch {
	case memory < least:
		return fmt.Errorf("%d KiB is less than the %d KiB that OWASP asks for with %d passes: raise memory or passes", memory, least, passes)
	case memory > MaxArgon2Work/max(passes, 1):
		return fmt.Errorf("%d KiB, passed over %d times, takes more than about a second: memory times passes is at most %d MiB", memory, passes, MaxArgon2Work>>10)
	}
	return nil
}

// BcryptCost refuses less than OWASP's least cost, and one with which a verification takes seconds.
func BcryptCost(cost int) error {
	if cost < MinBcryptCost || cost > MaxBcryptCost {
		return fmt.Errorf("cost %d is not between %d and %d", cost, MinBcryptCost, MaxBcryptCost)
	}
	return nil
}
