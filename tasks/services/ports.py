"""Where the servers of `shotboard up` listen."""

from dataclasses import dataclass

from tasks.services.children import check_port


@dataclass(frozen=True)
class Ports:
    """Ports of one address.

    Attributes:
        prefect: Of the Prefect server.
        board: Of the board page.
        mlflow: Of the MLflow UI; None where a tracking server has pages of its own.
        host: The address, or a name of this machine; by default no other machine reaches it.
    """

    prefect: int = 4200
    board: int = 4280
    mlflow: int | None = 5000
    host: str = "127.0.0.1"

    @property
    def named(self) -> list[tuple[str, int, str]]:
        """The option that chooses each, the port, and what listens there."""
        ports = [(name, getattr(self, name)) for name in _OPTIONS]
        return [(_OPTIONS[name], port, _PURPOSES[name]) for name, port in ports if port is not None]

    def check(self) -> None:
        """Refuses ports on which our servers could not listen.

        Raises:
            ValueError: Two are the same, one is taken or not for this user, or no server can
                listen at the host.
        """
        seen: dict[int, str] = {}
        for option, port, _ in self.named:
            if port in seen:
                raise ValueError(
                    f"{seen[port]} and {option} are both {port}: give two different ports."
                )
            seen[port] = option
        for option, port, purpose in self.named:
            check_port(option, port, purpose, self.host)


_OPTIONS = {"prefect": "--port", "board": "--board-port", "mlflow": "--mlflow-port"}
_PURPOSES = {
    "prefect": "the Prefect server",
    "board": "the board page",
    "mlflow": "the MLflow UI",
}
