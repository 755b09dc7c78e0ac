"""What ggemm raises. Each carries the text of the error underneath: argument, value, rule and remedy."""


class Error(Exception):
    """Whatever ggemm raises. A call that raises has written nothing."""


class ArgumentError(Error, ValueError):
    """A value, a shape or a layout that cannot be meant."""


class ArgumentTypeError(Error, TypeError):
    """An argument of a type that is not taken."""


class UnsupportedError(Error, NotImplementedError):
    """What this version does not do."""


class DeviceError(Error, RuntimeError):
    """A device that is missing, full or failing."""
