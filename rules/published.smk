"""Published results (`dvc pull`) come into place before anything is planned, in the process that plans."""

from inril.errors import InputError
from inril.publishing.mirror import adopt

if workflow.is_main_process:
    try:
        adopted = adopt()
    except (InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    if adopted:
        logger.info(f"Adopted {adopted} published results.")
