//! The eframe application: drains messages, runs `update`, performs effects.
