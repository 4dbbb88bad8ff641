from django.db import migrations, models


class Migration(migrations.Migration):
    """Lists by instrument and status in place of the indexes by client alone."""

    dependencies = [("orders", "0003_instrument_bounds")]

    operations = [
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                fields=["client_id", "instrument", "status", "order_id"], name="order_list_by_client"
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["instrument", "status", "order_id"], name="order_list"),
        ),
        migrations.RemoveIndex(model_name="order", name="order_by_client"),
        migrations.RemoveIndex(model_name="order", name="order_resting_by_client"),
    ]
