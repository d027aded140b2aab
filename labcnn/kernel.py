"""A kernel manager that lets a finished kernel go in silence."""

from jupyter_client.manager import AsyncKernelManager


class QuietKernelManager(AsyncKernelManager):
    """Doesn't interrupt a kernel before it asks it to shut down.

    Jupyter's own does, and an idle kernel then prints "KeyboardInterrupt caught in kernel" as an
    error. A kernel that is busy doesn't answer, and is ended by signals as ever.
    """

    async def _async_interrupt_kernel(self) -> None:
        if not self.shutting_down:
            await super()._async_interrupt_kernel()

    interrupt_kernel = _async_interrupt_kernel
